//! A context: where code finds the variables of the code before it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, MutexGuard, Notify};

use super::DEFAULT;
use super::worker::Worker;
use crate::agent::Agent;
use crate::http::error::Failure;

pub struct Context {
    pub id: String,
    pub cwd: PathBuf,
    pub created_at: jiff::Timestamp,
    /// Held while code runs: executions take turns. None before the first one of the default context.
    worker: Mutex<Option<Worker>>,
    dead: AtomicBool,
    /// Tells a running execution that the context is deleted.
    deleted: Notify,
}

impl Context {
    pub fn new(id: String, cwd: PathBuf, worker: Option<Worker>) -> Self {
        Self {
            id,
            cwd,
            created_at: jiff::Timestamp::now(),
            worker: Mutex::new(worker),
            dead: AtomicBool::new(false),
            deleted: Notify::new(),
        }
    }

    /// It can run code. The default context always can.
    pub fn is_active(&self) -> bool {
        !self.dead.load(Ordering::Relaxed)
    }

    /// Waits for the executions before, and starts a process if there is none. None for a context that has died.
    pub async fn turn(&self, agent: &Agent) -> Result<Option<Turn<'_>>, Failure> {
        let mut worker = self.worker.lock().await;
        if worker.is_none() && self.is_active() {
            *worker = Some(Worker::start(agent, &self.cwd)?);
        }
        Ok(worker.is_some().then(|| Turn { context: self, worker }))
    }

    /// Waits until it is deleted.
    pub async fn deleted(&self) {
        self.deleted.notified().await;
    }

    /// Ends its process, also below a running execution.
    pub async fn delete(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.deleted.notify_one();
        if let Some(worker) = self.worker.lock().await.take() {
            worker.kill().await;
        }
    }
}

/// The right to run code in a context.
pub struct Turn<'a> {
    context: &'a Context,
    worker: MutexGuard<'a, Option<Worker>>,
}

impl Turn<'_> {
    pub fn worker(&mut self) -> Option<&mut Worker> {
        self.worker.as_mut()
    }

    /// The process cannot be used any more. The default context gets another one, others stay without.
    pub async fn discard(&mut self) {
        if self.context.id != DEFAULT {
            self.context.dead.store(true, Ordering::Relaxed);
        }
        if let Some(worker) = self.worker.take() {
            worker.kill().await;
        }
    }
}
