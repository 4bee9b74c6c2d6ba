//! Connections to agents, kept for the next request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use sebring_types::{Runner, SandboxId};

use crate::error::Error;

/// Idle connections of one sandbox at most; more are closed after use.
const KEPT: usize = 16;

/// Bytes of the head of an answer; an agent's has some hundreds, and up to a few thousand for the name of a file.
const LONGEST_HEAD: usize = 16 * 1024;

/// What sends one request at a time.
pub(crate) type Sender = SendRequest<Body>;

/// Idle connections by sandbox; clones share them.
#[derive(Clone)]
pub(crate) struct Pool {
    runner: Arc<dyn Runner>,
    idle: Arc<Mutex<HashMap<SandboxId, Vec<Sender>>>>,
}

impl Pool {
    pub fn new(runner: Arc<dyn Runner>) -> Self {
        Self { runner, idle: Arc::default() }
    }

    /// A kept connection that was open when last looked at, if there is one: the last used first.
    pub fn kept(&self, id: SandboxId) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.get_mut(&id)?;
        std::iter::from_fn(|| kept.pop()).find(Sender::is_ready)
    }

    /// A new connection.
    pub async fn connect(&self, id: SandboxId) -> Result<Sender, Error> {
        let stream = TokioIo::new(self.runner.connect(id).await?);
        let (sender, connection) = http1::Builder::new().max_header_size(LONGEST_HEAD).handshake(stream).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(sandbox_id = %id, %error, "connection to an agent ended");
            }
        });
        Ok(sender)
    }

    /// Keeps a connection whose answer was read, as soon as its request is through as well: an agent may answer early.
    pub fn keep(&self, id: SandboxId, mut sender: Sender) {
        let pool = self.clone();
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                pool.put(id, sender);
            }
        });
    }

    fn put(&self, id: SandboxId, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.entry(id).or_default();
        if kept.len() < KEPT {
            kept.push(sender);
        }
    }

    /// Closes all of a sandbox that no longer runs.
    pub fn forget(&self, id: SandboxId) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Closes all.
    pub fn clear(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
