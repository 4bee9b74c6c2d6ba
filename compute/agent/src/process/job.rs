//! A running program that belongs to a request, and ends with it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::BorrowedFd;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::children::{Child, Exit};
use super::program::Program;
use super::spawn::SpawnError;
use super::tree;
use crate::agent::Agent;

/// Starts anywhere, so that agents in sandboxes within sandboxes do not take each other's processes for theirs.
static NUMBER: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(RandomState::new().build_hasher().finish()));

/// A program with everything it starts. Dropped while it runs, it is killed with them: nobody can learn its result.
#[derive(Debug)]
pub struct Job {
    child: Child,
    number: u64,
}

impl Job {
    /// With these descriptors, the first of which may be its `terminal`.
    pub fn start(
        agent: &Agent,
        program: &Program<'_>,
        descriptors: &[BorrowedFd<'_>],
        terminal: bool,
    ) -> Result<Self, SpawnError> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let launch = program.launch(number, descriptors, terminal).map_err(|_| SpawnError::Execute {
            program: program.path.display().to_string(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidInput, "an argument has a zero byte"),
        })?;
        Ok(Self { child: agent.children.spawn(&launch, &agent.identity)?, number })
    }

    pub fn exit(&self) -> Option<Exit> {
        *self.child.exit.borrow()
    }

    /// Waits for the program itself, not for what it left in the background.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.child.exit.clone();
        let exit = exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit);
        // The sender is dropped unused only when the reaper ends, at the end of the sandbox.
        exit.unwrap_or(Exit::Signal(libc::SIGKILL))
    }

    /// Sends a signal to the program's group, while it runs.
    pub fn signal(&self, number: i32) {
        if self.exit().is_none() {
            tree::signal_group(self.child.pid, number);
        }
    }

    /// Kills the program and everything that it started, also what it left in the background.
    pub fn kill(&self) {
        tree::kill(self.exit().is_none().then_some(self.child.pid), self.number);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.exit().is_none() {
            self.kill();
        }
    }
}
