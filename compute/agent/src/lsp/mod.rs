//! Language servers: completions and symbols of the sandbox's files.
//!
//! The sandbox's own programs do the work, one process for each language and project ([`server`]). The agent speaks
//! the Language Server Protocol 3.17 with them over pipes ([`connection`], [`wire`]), answers what they ask of an
//! editor ([`editor`]), and brings their answers into the toolbox API's shapes ([`completions`], [`symbols`]). A
//! server starts when asked to, and ends when asked to or with the sandbox.

pub mod api;
pub mod completions;
pub mod connection;
pub mod document;
pub mod editor;
pub mod language;
pub mod project;
pub mod server;
pub mod symbols;
pub mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::agent::Agent;
use crate::http::error::{Failure, Kind};
use crate::shared::Shared;
use language::Language;
use server::Server;

/// Which server: there is one of each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub language: Language,
    /// Absolute.
    pub project: PathBuf,
}

/// Locked while the server starts, so that it starts once and others wait for it.
type Slot = Arc<Mutex<Option<Arc<Server>>>>;

/// All servers that were ever started; the slots of stopped ones stay, empty.
#[derive(Default)]
pub struct Servers(Shared<BTreeMap<Key, Slot>>);

impl Servers {
    /// Starts a server, or leaves the one that runs.
    pub async fn start(&self, agent: &Agent, key: Key) -> Result<(), Failure> {
        let slot = Arc::clone(self.0.lock().entry(key.clone()).or_default());
        let mut server = slot.lock().await;
        if server.as_ref().is_none_or(|server| server.end().is_some()) {
            *server = None;
            *server = Some(Arc::new(Server::start(agent, key).await?));
        }
        Ok(())
    }

    pub async fn get(&self, key: &Key) -> Result<Arc<Server>, Failure> {
        let slot = self.0.lock().get(key).cloned();
        let server = match slot {
            Some(slot) => slot.lock().await.clone(),
            None => None,
        };
        let server = server.ok_or_else(|| not_started(key))?;
        server.end().map_or(Ok(server), |end| {
            Err(Failure::new(Kind::LspServerNotInitialized, format!("{end}: start it again by /lsp/start")))
        })
    }

    /// Ends a server with everything that it started; one that has died is forgotten.
    pub async fn stop(&self, key: &Key) -> Result<(), Failure> {
        let slot = self.0.lock().get(key).cloned().ok_or_else(|| not_started(key))?;
        let mut server = slot.lock().await;
        server.as_ref().ok_or_else(|| not_started(key))?.stop().await;
        *server = None;
        Ok(())
    }
}

fn not_started(key: &Key) -> Failure {
    let (language, project) = (key.language.id(), key.project.display());
    Failure::new(
        Kind::LspServerNotInitialized,
        format!("the {language} language server of {project} is not running: start it by /lsp/start"),
    )
}
