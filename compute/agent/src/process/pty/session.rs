//! One terminal with its shell.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::Ptys;
use crate::agent::Agent;
use crate::http::error::Failure;
use crate::process::children::Exit;
use crate::process::engine::{End, Process, Streams};
use crate::process::environment::Variables;
use crate::process::ledger::{Keep, Ledger, Place};
use crate::process::program::Program;
use crate::process::shell;
use crate::process::spawn::SpawnError;
use crate::process::terminal::Size;
use crate::shared::Shared;

/// Output that is kept for clients that come later or are slow. The shell is held up when even the fastest client is
/// half of it behind, so that nobody loses output.
const KEPT: usize = 512 * 1024;
/// A later client gets about this much of it: many screens, yet little to send.
const REPLAYED: u64 = 64 * 1024;
/// Messages of input that wait for the shell.
const TYPED_AHEAD: usize = 16;
const KILLED: End = End { exit: Exit::Signal(libc::SIGKILL), note: None };
const TERM: &str = "xterm-256color";

pub struct Pty {
    pub id: String,
    pub cwd: PathBuf,
    pub envs: Variables,
    pub created_at: jiff::Timestamp,
    pub lazy_start: bool,
    pub ledger: Arc<Ledger>,
    size: Shared<Size>,
    /// None until the first client comes to a lazy session, and after its end.
    shell: Shared<Option<Shell>>,
    end: watch::Sender<Option<End>>,
}

struct Shell {
    process: Arc<Process>,
    input: mpsc::Sender<Vec<u8>>,
}

impl Pty {
    pub fn new(id: String, cwd: PathBuf, envs: Variables, size: Size, lazy_start: bool) -> Self {
        Self {
            id,
            cwd,
            envs,
            created_at: jiff::Timestamp::now(),
            lazy_start,
            ledger: Arc::new(Ledger::new(Keep::Newest, KEPT)),
            size: Shared::new(size),
            shell: Shared::default(),
            end: watch::Sender::new(None),
        }
    }

    pub fn size(&self) -> Size {
        *self.size.lock()
    }

    pub fn is_active(&self) -> bool {
        self.shell.lock().is_some() && self.end.borrow().is_none()
    }

    /// Starts the shell, if it has not been.
    pub fn start(self: &Arc<Self>, agent: &Agent) -> Result<(), Failure> {
        let mut shell = self.shell.lock();
        if shell.is_some() {
            return Ok(());
        }
        let mut variables = agent.variables(Some(self.envs.clone()))?;
        variables.entry("TERM".to_owned()).or_insert_with(|| TERM.to_owned());
        let path = shell::find(&variables).ok_or_else(|| {
            Failure::bad_request("the image has no shell: install bash or sh, or use another snapshot")
        })?;
        let program =
            Program { path: &path, arguments: vec!["-l".to_owned()], variables: &variables, directory: &self.cwd };
        let streams = Streams::Terminal(self.size());
        let process = Process::start(agent, &program, streams, Vec::new(), Arc::clone(&self.ledger)).map_err(
            |error| match error {
                SpawnError::Directory { .. } => Failure::bad_request(error.to_string()),
                error => error.into(),
            },
        )?;
        let process = Arc::new(process);
        let (input, typed) = mpsc::channel(TYPED_AHEAD);
        tokio::spawn(serve(Arc::clone(self), Arc::clone(&process), typed, Arc::clone(&agent.ptys)));
        *shell = Some(Shell { process, input });
        Ok(())
    }

    /// Where to put input; none before the start.
    pub fn input(&self) -> Option<mpsc::Sender<Vec<u8>>> {
        self.shell.lock().as_ref().map(|shell| shell.input.clone())
    }

    /// False when the shell has ended.
    pub fn resize(&self, size: Size) -> bool {
        *self.size.lock() = size;
        if self.end.borrow().is_some() {
            return false;
        }
        self.shell.lock().as_ref().is_none_or(|shell| shell.process.resize(size).is_ok())
    }

    /// Tells the shell that its terminal is gone, which ends it politely.
    pub fn hang_up(&self) {
        if let Some(shell) = self.shell.lock().as_ref() {
            shell.process.signal(libc::SIGHUP);
        }
    }

    /// Kills the shell with everything it started, and waits for its end.
    pub async fn kill(&self) {
        let process = self.shell.lock().as_ref().map(|shell| Arc::clone(&shell.process));
        match process {
            Some(process) => {
                process.kill().await;
                self.ended().await;
            }
            None => drop(self.end.send_replace(Some(KILLED))),
        }
    }

    /// Waits for the shell's end; all of its output is in the ledger by then.
    pub async fn ended(&self) -> End {
        let mut end = self.end.subscribe();
        let end = end.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        // The sender lives as long as this value.
        end.unwrap_or(KILLED)
    }

    /// Makes room for a client: from the beginning for the first one, then with recent output.
    pub fn attach(&self) -> Place<'_> {
        self.ledger.place(self.ledger.recent_line(REPLAYED))
    }
}

/// Types what clients type until the shell ends, then takes the session off the list.
async fn serve(pty: Arc<Pty>, process: Arc<Process>, mut typed: mpsc::Receiver<Vec<u8>>, ptys: Arc<Ptys>) {
    let end = loop {
        tokio::select! {
            end = process.ended() => break end,
            Some(bytes) = typed.recv() => tokio::select! {
                // A shell that has ended reads nothing any more.
                _ = process.type_in(&bytes) => {}
                _ = process.ended() => {}
            },
        }
    };
    // The terminal goes with it.
    pty.shell.lock().take();
    ptys.remove(&pty);
    pty.end.send_replace(Some(end));
}
