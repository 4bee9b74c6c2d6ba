//! A running git, its output and its end.
//!
//! A git whose caller is gone is asked to end before it is killed: it then takes back its locks and half-written
//! files (`sigchain` in its source), where a killed one leaves a repository that is locked for ever.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::runtime::Handle;

use super::failure;
use super::url;
use crate::http::error::Failure;
use crate::process::children::Exit;
use crate::process::job::Job;
use crate::process::pipe::Pipe;

const CHUNK: usize = 32 * 1024;
/// Messages are kept up to here; git's own are short, those of hooks and servers need not be.
const MESSAGES: usize = 64 * 1024;
/// The largest output of a call whose output is not streamed.
const OUTPUT: usize = 16 * 1024 * 1024;

/// How long git may take to clean up.
const GRACE: Duration = Duration::from_secs(2);

/// Dropped, git is ended with everything that it started.
#[derive(Debug)]
pub struct Running {
    operation: String,
    /// None once it is being ended.
    job: Option<Job>,
    stdout: Output,
    stderr: Output,
    messages: Vec<u8>,
    exit: Option<Exit>,
    secrets: Vec<String>,
}

#[derive(Debug)]
struct Output {
    pipe: Pipe,
    open: bool,
}

/// How a call of git ended.
#[derive(Debug)]
pub struct Outcome {
    /// `push`, `clone` and so on.
    pub operation: String,
    pub exit: Exit,
    pub stdout: Vec<u8>,
    /// From standard error, without secrets.
    pub messages: String,
}

impl Running {
    pub fn new(
        operation: String,
        job: Job,
        stdout: OwnedFd,
        stderr: OwnedFd,
        secrets: Vec<String>,
    ) -> io::Result<Self> {
        let (stdout, stderr) = (Output::new(stdout)?, Output::new(stderr)?);
        Ok(Self { operation, job: Some(job), stdout, stderr, messages: Vec::new(), exit: None, secrets })
    }

    /// The next piece of output; none when git has ended and all is read. What it left in the background may keep
    /// the pipes open, and is not waited for. Cancelling it loses nothing.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if self.exit.is_some() {
                while let Some(text) = self.stderr.read()? {
                    self.keep(&text);
                }
                return self.stdout.read();
            }
            tokio::select! {
                biased;
                () = self.stdout.pipe.readable(), if self.stdout.open => if let Some(piece) = self.stdout.read()? {
                    return Ok(Some(piece));
                },
                () = self.stderr.pipe.readable(), if self.stderr.open => if let Some(text) = self.stderr.read()? {
                    self.keep(&text);
                },
                exit = wait(self.job.as_ref()) => self.exit = Some(exit),
            }
        }
    }

    /// What remains of the output, and the end.
    pub async fn outcome(mut self) -> Result<Outcome, Failure> {
        let mut stdout = Vec::new();
        while let Some(piece) = self.next().await? {
            if stdout.len() + piece.len() > OUTPUT {
                return Err(Failure::internal(format!(
                    "the output of git {} is longer than {OUTPUT} bytes: run git in the sandbox instead",
                    self.operation
                )));
            }
            stdout.extend(piece);
        }
        Ok(self.end(stdout).await)
    }

    /// The end, after [`Self::next`] has given everything.
    pub async fn end(mut self, stdout: Vec<u8>) -> Outcome {
        let exit = wait(self.job.as_ref()).await;
        self.exit = Some(exit);
        let mut messages = String::from_utf8_lossy(&self.messages).into_owned();
        for secret in self.secrets.iter().filter(|secret| !secret.is_empty()) {
            messages = messages.replace(secret.as_str(), "***");
        }
        Outcome { operation: std::mem::take(&mut self.operation), exit, stdout, messages: url::scrub(&messages) }
    }

    /// Ends git and everything that it started, and returns when none of it can write to a file any more.
    pub async fn stop(mut self) {
        if let Some(job) = self.job.take() {
            stop(job).await;
        }
        // Its helpers hold standard error: it ends with the last of them.
        while self.stderr.open {
            self.stderr.pipe.readable().await;
            if self.stderr.read().is_err() {
                return;
            }
        }
    }

    fn keep(&mut self, text: &[u8]) {
        let room = MESSAGES - self.messages.len();
        self.messages.extend_from_slice(&text[..text.len().min(room)]);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Without a runtime the job is dropped, and so killed.
        if self.exit.is_none()
            && let (Some(job), Ok(runtime)) = (self.job.take(), Handle::try_current())
        {
            runtime.spawn(stop(job));
        }
    }
}

/// Of a job that is being ended elsewhere nobody asks for the exit.
async fn wait(job: Option<&Job>) -> Exit {
    match job {
        Some(job) => job.wait().await,
        None => Exit::Signal(libc::SIGKILL),
    }
}

/// Git first, politely; then what it leaves.
async fn stop(job: Job) {
    job.signal(libc::SIGINT);
    // One that is not ready by then is killed with the others.
    let _ = tokio::time::timeout(GRACE, job.wait()).await;
    job.kill();
    job.wait().await;
}

impl Output {
    fn new(end: OwnedFd) -> io::Result<Self> {
        Ok(Self { pipe: Pipe::new(end)?, open: true })
    }

    /// What is there now; none when nothing is, or when it has ended.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        if !self.open {
            return Ok(None);
        }
        let mut chunk = vec![0; CHUNK];
        match self.pipe.read(&mut chunk) {
            Ok(0) => {
                self.open = false;
                Ok(None)
            }
            Ok(length) => {
                chunk.truncate(length);
                Ok(Some(chunk))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Outcome {
    pub fn succeeded(&self) -> bool {
        self.exit == Exit::Code(0)
    }

    /// The output of a call that went well.
    pub fn success(self) -> Result<Vec<u8>, Failure> {
        if self.succeeded() { Ok(self.stdout) } else { Err(failure::of(&self)) }
    }

    /// What `git config --null --get` found; of several values the last one, which is the one that counts.
    pub fn value(self) -> Result<Option<String>, Failure> {
        // Git's code for "not set".
        if self.exit == Exit::Code(1) {
            return Ok(None);
        }
        let output = self.success()?;
        Ok(Some(String::from_utf8_lossy(output.strip_suffix(b"\0").unwrap_or(&output)).into_owned()))
    }

    /// The one line of the output, without its end.
    pub fn line(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches(['\n', '\0']).to_owned()
    }
}
