//! What a process writes, on its way from pipes or a terminal into a ledger.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ledger::{Channel, Ledger};
use super::pipe::Pipe;

const CHUNK: usize = 32 * 1024;
/// More than a terminal holds; it doesn't tell how much that is.
const TERMINAL: u64 = 128 * 1024;

#[derive(Debug)]
pub struct Outputs {
    pub ledger: Arc<Ledger>,
    first: Output,
    second: Option<Output>,
}

#[derive(Debug)]
pub struct Output {
    channel: Channel,
    pipe: Pipe,
    open: AtomicBool,
}

impl Outputs {
    pub fn new(ledger: Arc<Ledger>, first: Output, second: Option<Output>) -> Self {
        Self { ledger, first, second }
    }

    pub fn is_terminal(&self) -> bool {
        self.first.channel == Channel::Pty
    }

    /// Of a process with a terminal.
    pub fn terminal(&self) -> &Pipe {
        &self.first.pipe
    }

    /// Reads until all have ended. Cancelling it loses nothing, and several may do it at once.
    pub async fn read_to_end(&self) {
        while self.are_open() {
            self.ledger.wait_for_readers().await;
            let output = tokio::select! {
                () = self.first.pipe.readable(), if self.first.is_open() => &self.first,
                output = readable(self.second.as_ref()) => output,
            };
            output.read(&self.ledger);
        }
    }

    /// Reads what is there now. A writer that goes on at full speed cannot keep this up.
    pub fn drain(&self) {
        for output in std::iter::once(&self.first).chain(&self.second) {
            let waiting = if output.channel == Channel::Pty { TERMINAL } else { output.pipe.waiting() };
            let end = self.ledger.end() + waiting;
            while self.ledger.end() < end && output.read(&self.ledger) {}
        }
    }

    fn are_open(&self) -> bool {
        self.first.is_open() || self.second.as_ref().is_some_and(Output::is_open)
    }
}

/// Never, when there is none that is open.
async fn readable(output: Option<&Output>) -> &Output {
    match output.filter(|output| output.is_open()) {
        Some(output) => {
            output.pipe.readable().await;
            output
        }
        None => std::future::pending().await,
    }
}

impl Output {
    pub fn new(channel: Channel, end: impl Into<OwnedFd>) -> io::Result<Self> {
        Ok(Self { channel, pipe: Pipe::new(end)?, open: AtomicBool::new(true) })
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Reads once. False when nothing is there at the moment, or nothing will come any more.
    fn read(&self, ledger: &Ledger) -> bool {
        let mut chunk = [0; CHUNK];
        match self.pipe.read(&mut chunk) {
            Ok(length) if length > 0 => {
                ledger.append(self.channel, &chunk[..length]);
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => self.open.store(false, Ordering::Relaxed),
        }
        false
    }
}
