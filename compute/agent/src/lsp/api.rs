//! `/lsp`: the routes of language servers.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Key;
use super::completions::CompletionList;
use super::document::{self, plain};
use super::language::Language;
use super::project;
use super::symbols::{self, Position, Symbol};
use crate::agent::Agent;
use crate::http::error::Failure;
use crate::http::query::Query;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = LspServerRequest))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerRequest {
    language_id: String,
    path_to_project: String,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = LspDocumentRequest))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DocumentRequest {
    language_id: String,
    path_to_project: String,
    uri: String,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = LspCompletionParams))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CompletionRequest {
    language_id: String,
    path_to_project: String,
    uri: String,
    position: Position,
    context: Option<Trigger>,
}

/// LSP 3.17, `CompletionContext`.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = CompletionContext))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Trigger {
    trigger_kind: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger_character: Option<String>,
}

/// Starting one that runs changes nothing.
pub async fn start(agent: &Agent, request: ServerRequest) -> Result<(), Failure> {
    agent.language_servers.start(agent, key(agent, &request.language_id, &request.path_to_project)?).await
}

pub async fn stop(agent: &Agent, request: ServerRequest) -> Result<(), Failure> {
    agent.language_servers.stop(&key(agent, &request.language_id, &request.path_to_project)?).await
}

/// Has the server read a file. Called again, it reads it anew.
pub async fn open(agent: &Agent, request: DocumentRequest) -> Result<(), Failure> {
    let key = key(agent, &request.language_id, &request.path_to_project)?;
    let server = agent.language_servers.get(&key).await?;
    server.open(document::read(agent, &key.project, &request.uri).await?).await
}

pub async fn close(agent: &Agent, request: DocumentRequest) -> Result<(), Failure> {
    let key = key(agent, &request.language_id, &request.path_to_project)?;
    let server = agent.language_servers.get(&key).await?;
    server.close(&document::locate(agent, &key.project, &request.uri).await?).await
}

pub async fn completions(agent: &Agent, request: CompletionRequest) -> Result<CompletionList, Failure> {
    let key = key(agent, &request.language_id, &request.path_to_project)?;
    let server = agent.language_servers.get(&key).await?;
    let uri = document::locate(agent, &key.project, &request.uri).await?;
    let mut params = json!({ "position": request.position });
    if let Some(context) = request.context {
        params["context"] = json!(context);
    }
    CompletionList::parse(&server.ask_document("textDocument/completion", &uri, params).await?)
}

pub async fn document_symbols(agent: &Agent, query: &Query) -> Result<Vec<Symbol>, Failure> {
    let key = queried_key(agent, query)?;
    let named = query.required("uri")?;
    let server = agent.language_servers.get(&key).await?;
    let uri = document::locate(agent, &key.project, named).await?;
    let answer = server.ask_document("textDocument/documentSymbol", &uri, Value::Object(Default::default())).await?;
    symbols::parse(&answer, &uri)
}

pub async fn workspace_symbols(agent: &Agent, query: &Query) -> Result<Vec<Symbol>, Failure> {
    let key = queried_key(agent, query)?;
    let server = agent.language_servers.get(&key).await?;
    project::symbols(agent, &server, &key.project, query.get("query").unwrap_or_default()).await
}

fn queried_key(agent: &Agent, query: &Query) -> Result<Key, Failure> {
    key(agent, query.required("languageId")?, query.required("pathToProject")?)
}

fn key(agent: &Agent, language: &str, project: &str) -> Result<Key, Failure> {
    let language = Language::parse(language)?;
    if project.is_empty() {
        return Err(Failure::bad_request("pathToProject is empty: name the project's directory"));
    }
    Ok(Key { language, project: plain(&agent.resolve(project)) })
}
