//! One terminal with its shell.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use nix::unistd::Pid;
use tokio::sync::{Notify, mpsc, watch};

use super::terminal::{Size, Terminal};
use crate::agent::Agent;
use crate::guest::memory::Kills;
use crate::http::error::Failure;
use crate::process::children::Exit;
use crate::process::environment::Variables;
use crate::process::job::Job;
use crate::process::log::{Log, Place, Stream};
use crate::process::program::Program;
use crate::process::shell;
use crate::process::spawn::SpawnError;
use crate::process::tree;
use crate::shared::Shared;

/// Output that is kept for clients that come later or are slow. The shell is held up when even the fastest client is
/// half of it behind, so that nobody loses output.
const KEPT: usize = 512 * 1024;
/// A later client gets about this much of it: many screens, yet little to send.
const REPLAYED: u64 = 64 * 1024;
/// Messages of input that wait for the shell.
const TYPED_AHEAD: usize = 16;
const CHUNK: usize = 16 * 1024;
const TERM: &str = "xterm-256color";

pub struct Pty {
    pub id: String,
    pub cwd: PathBuf,
    pub envs: Variables,
    pub created_at: jiff::Timestamp,
    pub lazy_start: bool,
    pub log: Log,
    size: Shared<Size>,
    /// None until the first client comes to a lazy session.
    shell: Shared<Option<Shell>>,
    end: watch::Sender<Option<End>>,
    kill: Notify,
}

/// How a terminal's shell ended.
#[derive(Debug, Clone)]
pub struct End {
    pub exit: Exit,
    /// Why, when it ran out of memory: it was killed, or its last command was and it took over that one's exit code.
    pub note: Option<String>,
}

impl End {
    fn killed() -> Self {
        Self { exit: Exit::Signal(libc::SIGKILL), note: None }
    }
}

#[derive(Clone)]
struct Shell {
    terminal: Arc<Terminal>,
    input: mpsc::Sender<Vec<u8>>,
    leader: Pid,
}

impl Pty {
    pub fn new(id: String, cwd: PathBuf, envs: Variables, size: Size, lazy_start: bool) -> Self {
        Self {
            id,
            cwd,
            envs,
            created_at: jiff::Timestamp::now(),
            lazy_start,
            log: Log::with_limit(KEPT),
            size: Shared::new(size),
            shell: Shared::default(),
            end: watch::Sender::new(None),
            kill: Notify::new(),
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
        let (terminal, slave) = Terminal::open(self.size())?;
        let program = Program {
            path: &path,
            arguments: vec!["-l".to_owned()],
            variables: &variables,
            directory: &self.cwd,
            descriptors: &[slave.as_fd(); 3],
            terminal: true,
        };
        let kills = Kills::count();
        let job = Job::start(&program, &agent.children, &agent.identity).map_err(|error| match error {
            SpawnError::Directory { .. } => Failure::bad_request(error.to_string()),
            error => error.into(),
        })?;
        let leader = job.leader();
        let terminal = Arc::new(terminal);
        let (input, typed) = mpsc::channel(TYPED_AHEAD);
        tokio::spawn(type_in(Arc::clone(&terminal), typed));
        tokio::spawn(serve(Arc::clone(self), Arc::clone(&terminal), (job, kills), Arc::clone(&agent.ptys)));
        *shell = Some(Shell { terminal, input, leader });
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
        self.shell.lock().as_ref().is_none_or(|shell| shell.terminal.resize(size).is_ok())
    }

    /// Tells the shell that its terminal is gone, which ends it politely.
    pub fn hang_up(&self) {
        if let Some(shell) = self.shell.lock().as_ref() {
            tree::signal_group(shell.leader, libc::SIGHUP);
        }
    }

    /// Kills the shell with everything it started, and waits for its end.
    pub async fn kill(&self) {
        if self.shell.lock().is_none() {
            self.end.send_replace(Some(End::killed()));
            return;
        }
        self.kill.notify_one();
        self.ended().await;
    }

    /// Waits for the shell's end; all of its output is in the log by then.
    pub async fn ended(&self) -> End {
        let mut end = self.end.subscribe();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or_else(End::killed),
            // The sender lives as long as this value.
            Err(_) => End::killed(),
        }
    }

    /// Makes room for a client: from the beginning for the first one, then with recent output.
    pub fn attach(&self) -> Place<'_> {
        self.log.place(self.log.recent_line(REPLAYED))
    }
}

async fn type_in(terminal: Arc<Terminal>, mut typed: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = typed.recv().await {
        if terminal.write(&bytes).await.is_err() {
            return;
        }
    }
}

/// Reads the terminal until the shell ends, then takes the session off the list. The shell comes with the count of kills
/// before it.
async fn serve(pty: Arc<Pty>, terminal: Arc<Terminal>, shell: (Job, Kills), ptys: Arc<super::Ptys>) {
    let (mut job, kills) = shell;
    let mut chunk = vec![0; CHUNK];
    let (mut open, mut asked) = (true, false);
    let exit = loop {
        tokio::select! {
            read = async {
                pty.log.wait_for_readers().await;
                terminal.read(&mut chunk).await
            }, if open => match read {
                Ok(length) if length > 0 => pty.log.append(Stream::Stdout, &chunk[..length]),
                _ => open = false,
            },
            exit = job.wait() => break exit,
            () = pty.kill.notified() => {
                asked = true;
                job.kill();
            }
        }
    };
    // What it left in the background may hold the terminal open; nobody watches it any more.
    loop {
        match terminal.read_left(&mut chunk) {
            0 => break,
            length => pty.log.append(Stream::Stdout, &chunk[..length]),
        }
    }
    pty.shell.lock().take();
    ptys.remove(&pty);
    pty.log.close();
    let note = (!asked).then(|| kills.explain(exit)).flatten().map(|note| note.trim_end().to_owned());
    pty.end.send_replace(Some(End { exit, note }));
}
