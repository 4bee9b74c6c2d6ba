//! One command of a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use crate::http::error::{Failure, Kind};
use crate::process::ledger::{Channel, Keep, Ledger};
use crate::process::pipe::Pipe;

/// Output that is kept of one command.
const KEPT: usize = 8 * 1024 * 1024;
/// How long the first look at a command waits for its end.
const FIRST_LOOK: Duration = Duration::from_millis(30);

#[derive(Debug)]
pub struct Command {
    pub id: String,
    pub text: String,
    pub ledger: Arc<Ledger>,
    /// It can be given input; else its standard input is empty.
    pub takes_input: bool,
    /// None while it waits or runs.
    exit: watch::Sender<Option<i32>>,
    /// The writing end of its standard input, while it runs.
    input: Mutex<Option<Pipe>>,
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
            ledger: Arc::new(Ledger::new(Keep::Newest, KEPT)),
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

    /// Waits for its end; all of its output is in the ledger by then.
    pub async fn ended(&self) -> i32 {
        let mut exit = self.exit.subscribe();
        match exit.wait_for(Option::is_some).await {
            Ok(code) => code.unwrap_or(-1),
            // The sender lives as long as this value.
            Err(_) => -1,
        }
    }

    pub async fn open_input(&self, input: Pipe) {
        *self.input.lock().await = Some(input);
    }

    /// Everything that belongs to it has been read. What it left in the background may still add to the ledger.
    pub async fn finish(&self, exit_code: i32) {
        // First, for it ends a write of input that nobody reads, which holds the lock.
        self.exit.send_replace(Some(exit_code));
        self.ledger.close();
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
        let input = self.input.lock().await;
        let pipe = input.as_ref().ok_or_else(|| {
            Failure::new(Kind::Conflict, format!("command {} has not started yet, or takes no input", self.id))
        })?;
        tokio::select! {
            written = pipe.write(data.as_bytes()) => written.map_err(|_| completed())?,
            _ = self.ended() => return Err(completed()),
        }
        if self.echo {
            self.ledger.append(Channel::Stdout, data.as_bytes());
        }
        Ok(())
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
