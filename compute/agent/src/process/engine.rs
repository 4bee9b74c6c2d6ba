//! The engine: starts a process, follows it, limits it and ends it.
//!
//! Every API that runs a program is a view of one [`Process`] and its [`Ledger`]:
//!
//! | API | process | ledger | the view |
//! |---|---|---|---|
//! | execute, code-run | the command | the first 16 MiB, both outputs in one pipe | its text, when the process has ended |
//! | session | the shell | of each command, the newest 8 MiB, from pipes of its own | texts, frames, a WebSocket |
//! | entrypoint | the image's program | as a session's command | the same |
//! | PTY | the shell, on a terminal | the newest 512 KiB | a WebSocket, from a recent line on |
//! | interpreter | `driver.py` of a context | the newest 512 KiB | a WebSocket, from a request's position to its report's |
//!
//! A task of the engine serves each process: it reads what the process writes into the ledger, and goes on doing so for
//! what it left in the background, which must neither stop at a full pipe nor be killed by a closed one. At the end of
//! the process itself it reads what is there, closes the ledger and tells the [`End`], in this order: who learns of the
//! end finds all output. A process is killed, with everything it started, when its owner asks for it or is gone. Nothing
//! here depends on a connection or on the time of day, so a frozen agent goes on where it was.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use super::children::Exit;
use super::job::Job;
use super::ledger::{Channel, Ledger};
use super::outputs::{Output, Outputs};
use super::program::Program;
use super::spawn::SpawnError;
use super::terminal::{self, Size};
use crate::agent::Agent;
use crate::guest::memory::Kills;

/// The standard streams of a process.
#[derive(Debug)]
pub enum Streams {
    /// Both outputs in one pipe, so that they stay in order. Without an input it is empty.
    Joined {
        input: Option<OwnedFd>,
    },
    /// Each output in a pipe of its own; an empty input.
    Apart,
    Terminal(Size),
}

/// How a process ended.
#[derive(Debug, Clone)]
pub struct End {
    pub exit: Exit,
    /// Why, when it ran out of memory: it was killed, or it is a shell whose last command was.
    pub note: Option<String>,
}

/// A process that was started. Dropped while it runs, it is killed with everything it started.
#[derive(Debug)]
pub struct Process(Arc<Running>);

#[derive(Debug)]
struct Running {
    job: Job,
    outputs: Outputs,
    end: watch::Sender<Option<End>>,
    /// Its owner wants it dead, so nobody needs to be told why it died.
    killed: AtomicBool,
}

impl Process {
    /// With its standard streams, and `files` as its descriptors from 3 on.
    pub fn start(
        agent: &Agent,
        program: &Program<'_>,
        streams: Streams,
        files: Vec<OwnedFd>,
        ledger: Arc<Ledger>,
    ) -> Result<Self, SpawnError> {
        let (mut descriptors, first, second) = connect(streams).map_err(SpawnError::Process)?;
        descriptors.extend(files);
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let outputs = Outputs::new(ledger, first, second);
        let kills = Kills::count();
        let job = Job::start(agent, program, &descriptors, outputs.is_terminal())?;
        let running = Arc::new(Running { job, outputs, end: watch::Sender::new(None), killed: AtomicBool::new(false) });
        tokio::spawn(serve(Arc::clone(&running), kills));
        Ok(Self(running))
    }

    /// Waits for the end of the process itself; all that it wrote is in the ledger by then.
    pub async fn ended(&self) -> End {
        let mut end = self.0.end.subscribe();
        let end = end.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        // The sender lives as long as this value.
        end.unwrap_or(End { exit: Exit::Signal(libc::SIGKILL), note: None })
    }

    /// Reads what it has written so far.
    pub fn drain(&self) {
        self.0.outputs.drain();
    }

    /// Types into its terminal, and waits while it does not read.
    pub async fn type_in(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.outputs.terminal().write(bytes).await
    }

    pub fn resize(&self, size: Size) -> io::Result<()> {
        terminal::resize(self.0.outputs.terminal(), size)
    }

    /// Sends a signal to its group, while it runs.
    pub fn signal(&self, number: i32) {
        self.0.job.signal(number);
    }

    /// Kills it with everything that it started, also what it left in the background, and waits for its end.
    pub async fn kill(&self) {
        self.0.killed.store(true, Ordering::Relaxed);
        self.0.job.kill();
        self.ended().await;
    }

    /// Waits until nothing holds its outputs any more.
    pub async fn silent(&self) {
        self.0.outputs.read_to_end().await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.0.job.exit().is_none() {
            self.0.job.kill();
        }
    }
}

async fn serve(process: Arc<Running>, kills: Kills) {
    let Running { job, outputs, end, killed } = &*process;
    let exit = tokio::select! {
        exit = job.wait() => exit,
        () = outputs.read_to_end() => job.wait().await,
    };
    outputs.drain();
    outputs.ledger.close();
    let note = if killed.load(Ordering::Relaxed) { None } else { kills.explain(exit) };
    end.send_replace(Some(End { exit, note }));
    // A terminal goes with its shell, and hangs up on what it left.
    if !outputs.is_terminal() {
        outputs.read_to_end().await;
    }
}

/// The process's side of its standard streams, from descriptor 0 on, and the agent's.
fn connect(streams: Streams) -> io::Result<(Vec<OwnedFd>, Output, Option<Output>)> {
    // The agent's own standard input is /dev/null.
    let nothing = || io::stdin().as_fd().try_clone_to_owned();
    Ok(match streams {
        Streams::Joined { input } => {
            let (stdout, writer) = io::pipe()?;
            let descriptors = vec![input.map_or_else(nothing, Ok)?, writer.try_clone()?.into(), writer.into()];
            (descriptors, Output::new(Channel::Stdout, stdout)?, None)
        }
        Streams::Apart => {
            let ((stdout, stdout_writer), (stderr, stderr_writer)) = (io::pipe()?, io::pipe()?);
            let descriptors = vec![nothing()?, stdout_writer.into(), stderr_writer.into()];
            (descriptors, Output::new(Channel::Stdout, stdout)?, Some(Output::new(Channel::Stderr, stderr)?))
        }
        Streams::Terminal(size) => {
            let (terminal, slave) = terminal::open(size)?;
            (vec![slave.try_clone()?, slave.try_clone()?, slave], Output::new(Channel::Pty, terminal)?, None)
        }
    })
}
