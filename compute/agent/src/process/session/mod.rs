//! Sessions: shells that keep their state between commands.
//!
//! A session owns one shell process ([`shell`]) and the commands it was given ([`command`]), each with its own
//! output ([`super::ledger`]) that can be read and followed at any time. The image's entrypoint is a session of its own
//! kind: one program that runs from the start.

pub mod api;
pub mod command;
pub mod entrypoint;
pub mod follow;
pub mod script;
pub mod shell;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use crate::guest::limits::return_memory;
use crate::http::error::{Failure, Kind};
use crate::shared::Shared;
use command::Command;

/// The reserved name of the entrypoint's session.
pub const ENTRYPOINT: &str = "entrypoint";
/// Sessions of a sandbox, besides the entrypoint's. Each costs a process and some memory.
const MOST: usize = 256;
/// Finished commands that a session remembers; older ones are forgotten with their output.
const REMEMBERED: usize = 1000;
/// Output that all commands of a session keep together; the oldest finished ones lose theirs first.
const KEPT_OUTPUT: usize = 32 * 1024 * 1024;

/// All sessions by their ids.
#[derive(Default)]
pub struct Sessions(Shared<BTreeMap<String, Arc<Session>>>);

pub struct Session {
    pub id: String,
    commands: Shared<Vec<Arc<Command>>>,
    /// Commands on their way to the shell. Dropped, the shell is killed with everything it started.
    queue: UnboundedSender<Arc<Command>>,
    /// What has become of the shell, once it takes no more commands.
    ended: Shared<Option<String>>,
    /// Serves the shell until the session is deleted.
    task: Shared<Option<JoinHandle<()>>>,
}

impl Sessions {
    pub fn add(&self, id: &str, start: impl FnOnce() -> Result<Arc<Session>, Failure>) -> Result<(), Failure> {
        let mut sessions = self.0.lock();
        if sessions.contains_key(id) {
            return Err(Failure::new(Kind::Conflict, format!("session {id:?} exists: delete it or use another id")));
        }
        if sessions.len() > MOST {
            return Err(Failure::new(
                Kind::Conflict,
                format!("there are {MOST} sessions: delete one that is not needed"),
            ));
        }
        sessions.insert(id.to_owned(), start()?);
        Ok(())
    }

    pub fn get(&self, id: &str) -> Result<Arc<Session>, Failure> {
        self.0.lock().get(id).cloned().ok_or_else(|| unknown(id))
    }

    /// All but the entrypoint's.
    pub fn list(&self) -> Vec<Arc<Session>> {
        self.0.lock().values().filter(|session| session.id != ENTRYPOINT).cloned().collect()
    }

    pub fn remove(&self, id: &str) -> Result<Arc<Session>, Failure> {
        self.0.lock().remove(id).ok_or_else(|| unknown(id))
    }
}

fn unknown(id: &str) -> Failure {
    Failure::new(Kind::ProcessNotFound, format!("session not found: {id:?}"))
}

impl Session {
    fn new(id: &str, queue: UnboundedSender<Arc<Command>>) -> Self {
        Self {
            id: id.to_owned(),
            commands: Shared::default(),
            queue,
            ended: Shared::default(),
            task: Shared::default(),
        }
    }

    pub fn commands(&self) -> Vec<Arc<Command>> {
        self.commands.lock().clone()
    }

    pub fn command(&self, id: &str) -> Result<Arc<Command>, Failure> {
        let found = self.commands.lock().iter().find(|command| command.id == id).cloned();
        found.ok_or_else(|| {
            Failure::new(Kind::ProcessNotFound, format!("command not found in session {:?}: {id:?}", self.id))
        })
    }

    /// Gives the shell one more command, to be run after those before it.
    pub fn submit(&self, command: Arc<Command>) -> Result<(), Failure> {
        let ended = |how: &str| {
            let message = format!("the shell of session {:?} {how}: create another session", self.id);
            Failure::new(Kind::SessionEnded, message)
        };
        if let Some(how) = self.ended.lock().as_deref() {
            return Err(ended(how));
        }
        let mut commands = self.commands.lock();
        self.queue.send(Arc::clone(&command)).map_err(|_| ended("has ended"))?;
        commands.push(command);
        forget(&mut commands);
        Ok(())
    }

    fn set_task(&self, task: JoinHandle<()>) {
        *self.task.lock() = Some(task);
    }

    /// Kills the shell and everything that it started, also in the background.
    pub async fn delete(self: Arc<Self>) {
        let task = self.task.lock().take();
        // With the last reference the queue ends, which the task waits for.
        drop(self);
        if let Some(task) = task {
            // It is never cancelled.
            let _ = task.await;
        }
        // Logs are many small pieces.
        return_memory();
    }

    fn end(&self, how: String) {
        *self.ended.lock() = Some(how);
    }
}

/// Keeps what a session remembers within its bounds.
fn forget(commands: &mut Vec<Arc<Command>>) {
    if commands.len() > REMEMBERED
        && let Some(oldest) = commands.iter().position(|command| command.exit_code().is_some())
    {
        commands.remove(oldest);
    }
    let mut kept: usize = commands.iter().map(|command| command.ledger.kept()).sum();
    for command in commands.iter().filter(|command| command.exit_code().is_some()) {
        if kept <= KEPT_OUTPUT {
            break;
        }
        kept -= command.ledger.kept();
        command.ledger.forget();
    }
}
