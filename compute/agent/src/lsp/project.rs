//! Symbols of a whole project. Of servers that know only those of documents, as pylsp, each document is asked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use memchr::memmem::Finder;
use serde_json::json;
use tokio::time::Instant;

use super::document;
use super::language::Language;
use super::server::Server;
use super::symbols::{self, Symbol};
use crate::agent::Agent;
use crate::files::walk::Walk;
use crate::http::error::Failure;
use crate::http::request::blocking;

/// Files that are asked about, at most.
const FILES: usize = 1000;
/// Larger files are not written by people.
const LARGEST: u64 = 1024 * 1024;
/// What is found until then is the answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Directories of other people's code, besides those whose names start with a dot.
const FOREIGN: [&str; 4] = ["__pycache__", "node_modules", "site-packages", "venv"];

/// From a server that knows the project, or by way of its documents.
pub async fn symbols(agent: &Agent, server: &Server, project: &Path, query: &str) -> Result<Vec<Symbol>, Failure> {
    if !server.knows_workspace {
        return of_documents(server, project, query).await;
    }
    if server.has_open().await {
        return symbols::parse(&server.workspace_symbols(query).await?, "");
    }
    // One document makes the server look at the project that it belongs to.
    let Some(source) = sources(server.language, project, query).await?.into_iter().next() else {
        return Ok(Vec::new());
    };
    let document = document::read(agent, project, &source.to_string_lossy()).await?;
    let uri = document.uri.clone();
    server.open(document).await?;
    let answer = server.workspace_symbols(query).await;
    server.close(&uri).await?;
    symbols::parse(&answer?, "")
}

/// Symbols whose names contain the query, in whatever case of ASCII letters. The server is asked only about files
/// whose text contains it.
async fn of_documents(server: &Server, project: &Path, query: &str) -> Result<Vec<Symbol>, Failure> {
    let deadline = Instant::now() + PATIENCE;
    let part = query.to_ascii_lowercase();
    let mut found = Vec::new();
    for source in sources(server.language, project, query).await? {
        if Instant::now() > deadline {
            break;
        }
        let uri = document::uri(&source);
        let answer = server.ask_document("textDocument/documentSymbol", &uri, json!({})).await?;
        found.extend(symbols::parse(&answer, &uri)?.into_iter().filter(|symbol| symbol.is_named_like(&part)));
    }
    Ok(found)
}

/// The project's own files of the language that contain a text.
async fn sources(language: Language, project: &Path, text: &str) -> Result<Vec<PathBuf>, Failure> {
    let (project, text) = (project.to_owned(), text.to_ascii_lowercase());
    blocking(move || find(language, &project, &text)).await
}

fn find(language: Language, project: &Path, wanted: &str) -> Result<Vec<PathBuf>, Failure> {
    let walk = Walk::new(project, usize::MAX).map_err(|error| Failure::file(project, &error))?;
    let finder = Finder::new(wanted);
    let own = |path: &Path| {
        let names = path.strip_prefix(project).unwrap_or(path).iter();
        !names.map(|name| name.to_string_lossy()).any(|name| name.starts_with('.') || FOREIGN.contains(&name.as_ref()))
    };
    let contains = |path: &Path| {
        let small = fs::metadata(path).is_ok_and(|metadata| metadata.len() <= LARGEST);
        // What cannot be read has no symbols.
        small && fs::read(path).is_ok_and(|text| finder.find(&text.to_ascii_lowercase()).is_some())
    };
    let files = walk.filter(|entry| entry.kind.is_file()).map(|entry| entry.path);
    Ok(files.filter(|path| language.owns(path) && own(path) && contains(path)).take(FILES).collect())
}
