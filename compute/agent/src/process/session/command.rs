//! One command of a session.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::{Mutex, watch};

use crate::http::error::{Failure, Kind};
use crate::process::log::{Log, Stream};

const CHUNK: usize = 32 * 1024;
/// How long the first look at a command waits for its end.
const FIRST_LOOK: Duration = Duration::from_millis(30);

nix::ioctl_read_bad!(bytes_to_read, libc::FIONREAD, libc::c_int);

#[derive(Debug)]
pub struct Command {
    pub id: String,
    pub text: String,
    pub log: Log,
    /// It can be given input; else its standard input is empty.
    pub takes_input: bool,
    /// None while it waits or runs.
    exit: watch::Sender<Option<i32>>,
    /// The writing end of its standard input, while it runs.
    input: Mutex<Option<pipe::Sender>>,
    echo: bool,
    looked_at: AtomicBool,
}

impl Command {
    pub fn new(text: String) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let id = format!("cmd-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Self {
            id,
            text,
            log: Log::default(),
            takes_input: false,
            exit: watch::Sender::new(None),
            input: Mutex::default(),
            echo: false,
            looked_at: AtomicBool::new(false),
        }
    }

    /// One that takes input. With `echo`, what it is given appears in its output as well.
    pub fn with_input(text: String, echo: bool) -> Self {
        Self { takes_input: true, echo, ..Self::new(text) }
    }

    /// Waits a moment for its end, the first time: clients look once, and then only after a pause of their own.
    pub async fn first_look(&self) {
        if !self.looked_at.swap(true, Ordering::Relaxed) {
            // Still running is an answer, too.
            let _ = tokio::time::timeout(FIRST_LOOK, self.ended()).await;
        }
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

    /// Reads what is there now. A writer that goes on at full speed cannot keep this up.
    pub fn drain(&mut self, log: &Log) {
        for (pipe, stream) in [(&mut self.stdout, Stream::Stdout), (&mut self.stderr, Stream::Stderr)] {
            let end = log.end() + pipe.as_ref().map_or(0, waiting);
            while log.end() < end && read(pipe, stream, log) {}
        }
    }
}

/// Reads what a pipe holds now, whether or not the runtime has heard of it yet: after a program's end, what the pipe holds
/// counts, not what was announced.
pub fn read_now(pipe: &pipe::Receiver, buffer: &mut [u8]) -> io::Result<usize> {
    pipe.try_read(buffer).or_else(|_| Ok(nix::unistd::read(pipe, buffer)?))
}

/// The bytes that a pipe holds.
pub fn waiting(pipe: &pipe::Receiver) -> u64 {
    let mut length = 0;
    // SAFETY: an open descriptor, and the integer that the call writes.
    match unsafe { bytes_to_read(pipe.as_raw_fd(), &raw mut length) } {
        Ok(_) => u64::try_from(length).unwrap_or(0),
        // Of a pipe it cannot fail.
        Err(_) => 0,
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
    match pipe.as_ref().map(|pipe| read_now(pipe, &mut chunk)) {
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn only_the_first_look_waits() {
        let command = Command::new("true".to_owned());
        let look = async {
            command.first_look().await;
            command.exit_code()
        };
        let end = async {
            tokio::task::yield_now().await;
            command.finish(0).await;
        };
        assert_eq!(tokio::join!(look, end).0, Some(0));
        let command = Command::new("sleep".to_owned());
        assert!(command.first_look().now_or_never().is_none());
        assert!(command.first_look().now_or_never().is_some());
    }
}
