//! A language server of one project, and the documents that it has open.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::Key;
use super::connection::{Connection, Pipes};
use super::document::{self, Document};
use super::editor::{self, Folder};
use super::language::Language;
use crate::agent::Agent;
use crate::http::error::Failure;
use crate::process::job::Job;
use crate::process::program::{self, Program};
use crate::process::spawn::SpawnError;

pub struct Server {
    pub language: Language,
    connection: Connection,
    /// Besides the symbols of documents, those of all.
    pub knows_workspace: bool,
    /// The URIs of open documents, with their versions. Held while a change is sent: the order counts.
    open: Mutex<BTreeMap<String, i64>>,
}

/// Of the answer to `initialize`, what decides something.
#[derive(Deserialize)]
struct Introduction {
    capabilities: Capabilities,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Capabilities {
    #[serde(default)]
    workspace_symbol_provider: Value,
}

impl Server {
    pub async fn start(agent: &Agent, key: Key) -> Result<Self, Failure> {
        let path = key.project.to_string_lossy();
        let name = key.project.file_name().unwrap_or(key.project.as_os_str()).to_string_lossy().into_owned();
        let folder = Folder { uri: document::uri(&key.project), name };
        let introduction = editor::introduction(&folder, &path);
        let connection = launch(agent, &key, folder)?;
        let answer = connection.request("initialize", &introduction).await?;
        let answer: Introduction = serde_json::from_str(answer.get()).map_err(|error| nonsense(&error))?;
        connection.notify("initialized", &json!({})).await?;
        let knows_workspace =
            !matches!(answer.capabilities.workspace_symbol_provider, Value::Null | Value::Bool(false));
        Ok(Self { language: key.language, connection, knows_workspace, open: Mutex::default() })
    }

    /// How the server ended, when it has.
    pub fn end(&self) -> Option<String> {
        self.connection.end()
    }

    pub async fn stop(&self) {
        self.connection.stop().await;
    }

    /// Tells the server a document's text. For one that is open already, the new text.
    pub async fn open(&self, document: Document) -> Result<(), Failure> {
        let mut open = self.open.lock().await;
        let Document { path, uri, text } = document;
        let version = open.get(&uri).map_or(1, |version| version + 1);
        let sent = if version == 1 {
            let language = self.language.of_file(&path);
            let document = json!({"uri": uri, "languageId": language, "version": version, "text": text});
            self.connection.notify("textDocument/didOpen", &json!({ "textDocument": document })).await
        } else {
            let document = json!({"uri": uri, "version": version});
            let change = json!({"textDocument": document, "contentChanges": [{"text": text}]});
            self.connection.notify("textDocument/didChange", &change).await
        };
        open.insert(uri, version);
        sent
    }

    /// Closes a document; one that is not open stays so.
    pub async fn close(&self, uri: &str) -> Result<(), Failure> {
        let mut open = self.open.lock().await;
        if open.remove(uri).is_some() {
            self.connection.notify("textDocument/didClose", &json!({"textDocument": {"uri": uri}})).await?;
        }
        Ok(())
    }

    /// `textDocument/...`: about one document, with further parameters.
    pub async fn ask_document(&self, method: &str, uri: &str, mut params: Value) -> Result<Box<RawValue>, Failure> {
        params["textDocument"] = json!({ "uri": uri });
        self.connection.request(method, &params).await
    }

    /// Whether a document is open. Servers of TypeScript know a project only by its open documents.
    pub async fn has_open(&self) -> bool {
        !self.open.lock().await.is_empty()
    }

    /// `workspace/symbol`, for servers that know it.
    pub async fn workspace_symbols(&self, query: &str) -> Result<Box<RawValue>, Failure> {
        self.connection.request("workspace/symbol", &json!({ "query": query })).await
    }
}

/// An answer that does not have the protocol's shape.
pub fn nonsense(error: &serde_json::Error) -> Failure {
    Failure::internal(format!("the language server's answer cannot be understood: {error}"))
}

fn launch(agent: &Agent, key: &Key, folder: Folder) -> Result<Connection, Failure> {
    let variables = agent.variables(None)?;
    let (name, arguments) = key.language.program();
    let path = program::find(name, &variables).ok_or_else(|| {
        Failure::bad_request(format!(
            "the sandbox has no {name} in its PATH: install it ({}), or use a snapshot that has it",
            key.language.installation()
        ))
    })?;
    let (stdin_reader, stdin) = io::pipe()?;
    let (stdout, stdout_writer) = io::pipe()?;
    let (stderr, stderr_writer) = io::pipe()?;
    let program = Program {
        path: &path,
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        variables: &variables,
        directory: &key.project,
    };
    let descriptors = [stdin_reader.as_fd(), stdout_writer.as_fd(), stderr_writer.as_fd()];
    let job = Job::start(agent, &program, &descriptors, false).map_err(|error| match error {
        SpawnError::Directory { source, .. } => Failure::file(&key.project, &source),
        error => error.into(),
    })?;
    let pipes = Pipes { stdin: stdin.into(), stdout: stdout.into(), stderr: stderr.into() };
    Ok(Connection::new(name, job, pipes, folder)?)
}
