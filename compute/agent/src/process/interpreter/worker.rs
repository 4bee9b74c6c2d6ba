//! The Python process of a context.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;

use super::text::Decoder;
use super::wire;
use crate::agent::Agent;
use crate::http::error::Failure;
use crate::process::children::Exit;
use crate::process::environment::Variables;
use crate::process::job::Job;
use crate::process::log::Stream;
use crate::process::program::{self, Program};
use crate::process::session::command::set_nonblocking;
use crate::process::spawn::SpawnError;

const DRIVER: &str = include_str!("driver.py");
const CHUNK: usize = 32 * 1024;

pub struct Worker {
    job: Job,
    requests: pipe::Sender,
    reports: pipe::Receiver,
    /// Of reports, what has been read.
    buffer: Vec<u8>,
    stdout: Output,
    stderr: Output,
}

struct Output {
    pipe: pipe::Receiver,
    decoder: Decoder,
    open: bool,
}

/// What a worker does next.
#[derive(Debug)]
pub enum Event {
    Output(Stream, String),
    /// The code has ended.
    Done(Option<Error>),
    /// The process has ended, or cannot be understood any more.
    Died,
}

/// An exception that the code did not catch.
#[derive(Debug)]
pub struct Error {
    pub name: String,
    pub value: String,
    pub traceback: String,
}

impl Worker {
    pub fn start(agent: &Agent, directory: &Path) -> Result<Self, Failure> {
        let variables = agent.variables(None)?;
        let path = ["python3", "python"].iter().find_map(|name| program::find(name, &variables)).ok_or_else(|| {
            Failure::bad_request("the sandbox has no python3 in its PATH: install it, or use another snapshot")
        })?;
        let (request_reader, requests) = io::pipe()?;
        let (reports, report_writer) = io::pipe()?;
        let (stdout, stdout_writer) = io::pipe()?;
        let (stderr, stderr_writer) = io::pipe()?;
        let nothing = io::stdin();
        let descriptors = [
            nothing.as_fd(),
            stdout_writer.as_fd(),
            stderr_writer.as_fd(),
            request_reader.as_fd(),
            report_writer.as_fd(),
        ];
        let program = Program {
            path: &path,
            arguments: vec!["-u".to_owned(), "-c".to_owned(), DRIVER.to_owned()],
            variables: &variables,
            directory,
            descriptors: &descriptors,
            terminal: false,
        };
        let job = Job::start(&program, &agent.children, &agent.identity).map_err(|error| match error {
            SpawnError::Directory { .. } => Failure::bad_request(error.to_string()),
            error => error.into(),
        })?;
        set_nonblocking(&requests)?;
        Ok(Self {
            job,
            requests: pipe::Sender::from_owned_fd(requests.into())?,
            reports: receiver(reports.into())?,
            buffer: Vec::new(),
            stdout: Output::new(stdout.into())?,
            stderr: Output::new(stderr.into())?,
        })
    }

    /// Starts an execution; the former one must be done.
    pub async fn send(&mut self, code: &str, variables: &Variables) -> io::Result<()> {
        let fields = variables.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
        self.requests.write_all(&wire::encode([code].into_iter().chain(fields))).await
    }

    /// Raises `KeyboardInterrupt` in the code, and ends programs that it waits for, as a terminal does.
    pub fn interrupt(&self) {
        self.job.interrupt();
    }

    pub async fn kill(&mut self) -> Exit {
        self.job.kill();
        self.job.wait().await
    }

    /// Cancelling it loses nothing.
    pub async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                // Output first, so that it is never behind the report of the code's end.
                biased;
                text = self.stdout.next(), if self.stdout.open => if let Some(text) = text {
                    return Event::Output(Stream::Stdout, text);
                },
                text = self.stderr.next(), if self.stderr.open => if let Some(text) = text {
                    return Event::Output(Stream::Stderr, text);
                },
                read = self.reports.read_buf(&mut self.buffer) => match (read, wire::decode(&mut self.buffer)) {
                    (Ok(1..), Ok(None)) => {}
                    (Ok(1..), Ok(Some(fields))) => return Event::Done(error(fields)),
                    _ => return Event::Died,
                },
                _ = self.job.wait() => return Event::Died,
            }
        }
    }

    /// Output that has arrived but was not read.
    pub fn rest(&mut self) -> Vec<(Stream, String)> {
        let outputs = [(Stream::Stdout, &mut self.stdout), (Stream::Stderr, &mut self.stderr)];
        outputs
            .into_iter()
            .map(|(stream, output)| (stream, output.rest()))
            .filter(|(_, text)| !text.is_empty())
            .collect()
    }
}

fn error(fields: Vec<String>) -> Option<Error> {
    let [name, value, traceback] = <[String; 3]>::try_from(fields).ok()?;
    Some(Error { name, value, traceback })
}

fn receiver(end: OwnedFd) -> io::Result<pipe::Receiver> {
    set_nonblocking(&end)?;
    pipe::Receiver::from_owned_fd(end)
}

impl Output {
    fn new(end: OwnedFd) -> io::Result<Self> {
        Ok(Self { pipe: receiver(end)?, decoder: Decoder::default(), open: true })
    }

    /// None when nothing came that can be shown.
    async fn next(&mut self) -> Option<String> {
        // An error shows again when it is read.
        let _ = self.pipe.readable().await;
        Some(self.read()?).filter(|text| !text.is_empty())
    }

    fn read(&mut self) -> Option<String> {
        let mut chunk = [0; CHUNK];
        match self.pipe.try_read(&mut chunk) {
            Ok(length) if length > 0 => Some(self.decoder.decode(&chunk[..length])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            _ => {
                self.open = false;
                None
            }
        }
    }

    fn rest(&mut self) -> String {
        let mut text = String::new();
        while let Some(more) = self.read() {
            text.push_str(&more);
        }
        text.push_str(self.decoder.finish());
        text
    }
}
