//! A running program that belongs to a request, and ends with it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use nix::unistd::Pid;

use super::children::{Child, Children, Exit};
use super::program::Program;
use super::spawn::SpawnError;
use super::tree;
use crate::guest::identity::Identity;

/// Starts anywhere, so that agents in sandboxes within sandboxes do not take each other's processes for theirs.
static NUMBER: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(RandomState::new().build_hasher().finish()));

/// A program with everything it starts. Dropped while it runs, it is killed with them: nobody can learn its result.
#[derive(Debug)]
pub struct Job {
    child: Child,
    number: u64,
    exit: Option<Exit>,
}

impl Job {
    pub fn start(program: &Program<'_>, children: &Arc<Children>, identity: &Identity) -> Result<Self, SpawnError> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let launch = program.launch(number).map_err(|_| SpawnError::Execute {
            program: program.path.display().to_string(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidInput, "an argument has a zero byte"),
        })?;
        Ok(Self { child: children.spawn(&launch, identity)?, number, exit: None })
    }

    /// The program's pid, which is its group's and session's as well.
    pub fn leader(&self) -> Pid {
        self.child.pid
    }

    /// Waits for the program itself, not for what it left in the background.
    pub async fn wait(&mut self) -> Exit {
        if let Some(exit) = self.exit {
            return exit;
        }
        // The sender is dropped unused only when the reaper ends, at the end of the sandbox.
        let exit = (&mut self.child.exit).await.unwrap_or(Exit::Signal(libc::SIGKILL));
        self.exit = Some(exit);
        exit
    }

    /// Ctrl-C to the program's group, while it runs.
    pub fn interrupt(&self) {
        if self.exit.is_none() {
            tree::signal_group(self.child.pid, libc::SIGINT);
        }
    }

    /// Kills the program and everything that it started, also what it left in the background.
    pub fn kill(&self) {
        tree::kill(self.exit.is_none().then_some(self.child.pid), self.number);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.exit.is_none() {
            self.kill();
        }
    }
}
