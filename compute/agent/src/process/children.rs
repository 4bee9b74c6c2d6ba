//! The one place that reaps: every process that ends below pid 1 is collected here, and its exit handed to whoever
//! started it.

use std::collections::HashMap;

use nix::unistd::Pid;
use tokio::sync::watch;

use super::spawn::{ChildStack, Launch, SpawnError, spawn};
use crate::guest::identity::Identity;
use crate::shared::Shared;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    /// As shells report it: 128 and the signal's number.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// A started process.
#[derive(Debug)]
pub struct Child {
    pub pid: Pid,
    /// None until it has been collected; from then on its number may be another's.
    pub exit: watch::Receiver<Option<Exit>>,
}

#[derive(Default)]
struct State {
    waiting: HashMap<i32, watch::Sender<Option<Exit>>>,
    stack: ChildStack,
    stopping: bool,
}

/// The processes that the agent started itself and that have not ended.
#[derive(Default)]
pub struct Children(Shared<State>);

impl Children {
    /// Starts a program. The lock is held until it is known, so it cannot be reaped as a stranger.
    pub fn spawn(&self, launch: &Launch<'_>, identity: &Identity) -> Result<Child, SpawnError> {
        let mut state = self.0.lock();
        if state.stopping {
            return Err(SpawnError::Stopping);
        }
        let pid = spawn(launch, identity, &mut state.stack)?;
        let (sender, exit) = watch::channel(None);
        state.waiting.insert(pid.as_raw(), sender);
        Ok(Child { pid, exit })
    }

    /// Collects everything that has ended. Whether any child is left, our own or adopted.
    pub fn reap(&self) -> bool {
        let mut state = self.0.lock();
        loop {
            let mut status = 0;
            // SAFETY: writes one integer. The wrapper of `nix` refuses real-time signals, and would lose such an exit.
            match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
                0 => return true,
                -1 => return false,
                pid => {
                    let exit = if libc::WIFSIGNALED(status) {
                        Exit::Signal(libc::WTERMSIG(status))
                    } else {
                        Exit::Code(libc::WEXITSTATUS(status))
                    };
                    if let Some(sender) = state.waiting.remove(&pid) {
                        // Nobody may be waiting any more.
                        let _ = sender.send(Some(exit));
                    }
                }
            }
        }
    }

    /// From now on nothing is started.
    pub fn close(&self) {
        self.0.lock().stopping = true;
    }
}
