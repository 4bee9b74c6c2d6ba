//! What the parts of the agent share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sebring_types::agent::AgentConfig;

use crate::guest::identity::Identity;
use crate::http::connections::Connections;
use crate::http::error::Failure;
use crate::lsp::Servers;
use crate::process::children::Children;
use crate::process::environment::{self, Variables};
use crate::process::interpreter::Contexts;
use crate::process::pty::Ptys;
use crate::process::session::{ENTRYPOINT, Sessions, entrypoint};
use crate::shared::Shared;
use crate::system::metrics::CpuMeter;

pub struct Agent {
    pub identity: Identity,
    /// Where relative paths start and commands run; absolute.
    pub work_dir: PathBuf,
    /// Of later processes; changed by `POST /env`.
    pub environment: Shared<Variables>,
    pub connections: Arc<Connections>,
    pub children: Arc<Children>,
    pub contexts: Contexts,
    pub sessions: Sessions,
    pub ptys: Arc<Ptys>,
    pub language_servers: Servers,
    pub cpu_meter: CpuMeter,
    entrypoint: Vec<String>,
    /// Between the polite and the final signal at the end.
    pub grace: std::time::Duration,
}

impl Agent {
    pub fn new(config: AgentConfig, identity: Identity) -> Self {
        let work_dir = config.work_dir.unwrap_or_else(|| identity.home.clone());
        Self {
            environment: Shared::new(environment::initial(&identity, &config.env)),
            work_dir: Path::new("/").join(work_dir),
            identity,
            entrypoint: config.entrypoint,
            connections: Arc::default(),
            children: Arc::default(),
            contexts: Contexts::default(),
            sessions: Sessions::default(),
            ptys: Arc::default(),
            language_servers: Servers::default(),
            cpu_meter: CpuMeter::default(),
            grace: std::time::Duration::from_secs(config.grace_seconds.into()),
        }
    }

    /// Starts what the image starts.
    pub async fn start_entrypoint(&self) {
        let session = entrypoint::start(self, &self.entrypoint).await;
        // There is no other of this name: it is reserved.
        let _ = self.sessions.add(ENTRYPOINT, || Ok(session));
    }

    /// An absolute path; relative ones start at the work directory, and the empty one is it.
    pub fn resolve(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.work_dir.clone() } else { self.work_dir.join(path) }
    }

    /// The environment of a new process, with those of its request on top.
    pub fn variables(&self, own: Option<Variables>) -> Result<Variables, Failure> {
        let mut variables = self.environment.lock().clone();
        if let Some(own) = own {
            environment::check(&own)?;
            variables.extend(own);
        }
        Ok(variables)
    }
}
