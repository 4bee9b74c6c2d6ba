//! One command of a session.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::{Mutex, watch};

use crate::http::error::{Failure, Kind};
use crate::process::log::{Log, Stream};

const CHUNK: usize = 32 * 1024;

#[derive(Debug)]
pub struct Command {
    pub id: String,
    pub text: String,
    pub log: Log,
    /// None while it waits or runs.
    exit: watch::Sender<Option<i32>>,
    /// The writing end of its standard input, while it runs.
    input: Mutex<Option<pipe::Sender>>,
    echo: bool,
}

impl Command {
    /// With `echo`, input that is given to it later appears in its output as well.
    pub fn new(text: String, echo: bool) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let id = format!("cmd-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { id, text, log: Log::default(), exit: watch::Sender::new(None), input: Mutex::default(), echo }
    }

    pub fn exit_code(&self) -> Option<i32> {
        *self.exit.borrow()
    }

    /// Waits for its end; all of its output is in the log by then.
    pub async fn ended(&self) -> i32 {
        let mut exit = self.exit.subscribe();
        match exit.wait_for(Option::is_some).await {
            Ok(code) => code.unwrap_or(-1),
            // The sender lives as long as this value.
            Err(_) => -1,
        }
    }

    pub async fn open_input(&self, input: pipe::Sender) {
        *self.input.lock().await = Some(input);
    }

    /// Everything that belongs to it has been read. What it left in the background may still add to the log.
    pub async fn finish(&self, exit_code: i32) {
        // First, for it ends a write of input that nobody reads, which holds the lock.
        self.exit.send_replace(Some(exit_code));
        self.log.close();
        self.input.lock().await.take();
    }

    /// Writes a line to its standard input, and waits while the command does not read.
    pub async fn give_input(&self, mut data: String) -> Result<(), Failure> {
        if !data.ends_with('\n') {
            data.push('\n');
        }
        let completed = || Failure::new(Kind::CommandAlreadyCompleted, format!("command {} has ended", self.id));
        if self.exit_code().is_some() {
            return Err(completed());
        }
        let mut input = self.input.lock().await;
        let pipe = input.as_mut().ok_or_else(|| {
            Failure::new(Kind::Conflict, format!("command {} has not started yet, or takes no input", self.id))
        })?;
        tokio::select! {
            written = pipe.write_all(data.as_bytes()) => written.map_err(|_| completed())?,
            _ = self.ended() => return Err(completed()),
        }
        if self.echo {
            self.log.append(Stream::Stdout, data.as_bytes());
        }
        Ok(())
    }
}

/// Both outputs of a program, on their way into a log.
#[derive(Debug)]
pub struct Outputs {
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
}

impl Outputs {
    pub fn new(stdout: OwnedFd, stderr: OwnedFd) -> io::Result<Self> {
        let receiver = |end: OwnedFd| {
            set_nonblocking(&end)?;
            pipe::Receiver::from_owned_fd(end).map(Some)
        };
        Ok(Self { stdout: receiver(stdout)?, stderr: receiver(stderr)? })
    }

    /// Reads until both have ended. Cancelling it loses nothing.
    pub async fn read_to_end(&mut self, log: &Log) {
        while self.stdout.is_some() || self.stderr.is_some() {
            let ready = |pipe: &Option<pipe::Receiver>| pipe.is_some();
            log.wait_for_readers().await;
            tokio::select! {
                _ = readable(&self.stdout), if ready(&self.stdout) => read(&mut self.stdout, Stream::Stdout, log),
                _ = readable(&self.stderr), if ready(&self.stderr) => read(&mut self.stderr, Stream::Stderr, log),
            };
        }
    }

    /// Reads what is there now.
    pub fn drain(&mut self, log: &Log) {
        while read(&mut self.stdout, Stream::Stdout, log) {}
        while read(&mut self.stderr, Stream::Stderr, log) {}
    }
}

pub fn set_nonblocking(descriptor: &impl AsFd) -> io::Result<()> {
    fcntl(descriptor, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

async fn readable(pipe: &Option<pipe::Receiver>) {
    if let Some(pipe) = pipe {
        // An error shows again when it is read.
        let _ = pipe.readable().await;
    }
}

/// Reads once. False when nothing is there at the moment, or nothing will come any more.
fn read(pipe: &mut Option<pipe::Receiver>, stream: Stream, log: &Log) -> bool {
    let mut chunk = [0; CHUNK];
    match pipe.as_ref().map(|pipe| pipe.try_read(&mut chunk)) {
        Some(Ok(length)) if length > 0 => {
            log.append(stream, &chunk[..length]);
            true
        }
        Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => false,
        _ => {
            *pipe = None;
            false
        }
    }
}
