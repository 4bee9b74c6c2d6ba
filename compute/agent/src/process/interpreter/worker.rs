//! The Python process of a context.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::wire;
use crate::agent::Agent;
use crate::http::error::Failure;
use crate::process::children::Exit;
use crate::process::environment::Variables;
use crate::process::job::Job;
use crate::process::log::Stream;
use crate::process::program::{self, Program};
use crate::process::session::command::{read_now, set_nonblocking, waiting};
use crate::process::spawn::SpawnError;
use crate::process::text::Decoder;

const DRIVER: &str = include_str!("driver.py");
const CHUNK: usize = 32 * 1024;

pub struct Worker {
    job: Job,
    requests: pipe::Sender,
    reports: pipe::Receiver,
    /// Of reports, what has been read.
    buffer: Vec<u8>,
    /// What the present request is called; only the process itself knows.
    request: String,
    outputs: Arc<Mutex<Outputs>>,
    /// Reads and drops what background threads and processes write while no code runs.
    idle: Option<JoinHandle<()>>,
}

struct Outputs {
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
            request: String::new(),
            outputs: Arc::new(Mutex::new(Outputs {
                stdout: Output::new(stdout.into())?,
                stderr: Output::new(stderr.into())?,
            })),
            idle: None,
        })
    }

    /// Starts an execution; the former one must be done.
    pub async fn send(&mut self, code: &str, variables: &Variables) -> io::Result<()> {
        if let Some(idle) = self.idle.take() {
            idle.abort();
            // Cancelled, as it was told.
            let _ = idle.await;
        }
        // It belongs to the code before.
        self.rest().await;
        self.request = format!("{:x}", RandomState::new().build_hasher().finish());
        let fields = variables.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
        self.requests.write_all(&wire::encode([self.request.as_str(), code].into_iter().chain(fields))).await
    }

    /// Until the next execution nobody wants to know what is written.
    pub fn idle(&mut self) {
        let outputs = Arc::clone(&self.outputs);
        self.idle = Some(tokio::spawn(async move {
            let mut outputs = outputs.lock().await;
            while outputs.next().await.is_some() {}
        }));
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
        let mut outputs = self.outputs.lock().await;
        loop {
            tokio::select! {
                output = outputs.next(), if outputs.are_open() => if let Some((stream, text)) = output {
                    return Event::Output(stream, text);
                },
                read = self.reports.read_buf(&mut self.buffer) => match (read, wire::decode(&mut self.buffer)) {
                    (Ok(1..), Ok(None)) => {}
                    (Ok(1..), Ok(Some(fields))) => return done(&self.request, fields),
                    _ => return Event::Died,
                },
                _ = self.job.wait() => return Event::Died,
            }
        }
    }

    /// Output that has arrived but was not read.
    pub async fn rest(&mut self) -> Vec<(Stream, String)> {
        let mut outputs = self.outputs.lock().await;
        let Outputs { stdout, stderr } = &mut *outputs;
        let rests = [(Stream::Stdout, stdout.rest()), (Stream::Stderr, stderr.rest())];
        rests.into_iter().filter(|(_, text)| !text.is_empty()).collect()
    }
}

/// What a report means: one that does not name the request is not the process's own.
fn done(request: &str, fields: Vec<String>) -> Event {
    let mut fields = fields.into_iter();
    if fields.next().as_deref() != Some(request) {
        return Event::Died;
    }
    match <[String; 3]>::try_from(fields.collect::<Vec<_>>()) {
        Ok([name, value, traceback]) => Event::Done(Some(Error { name, value, traceback })),
        Err(_) => Event::Done(None),
    }
}

impl Outputs {
    fn are_open(&self) -> bool {
        self.stdout.open || self.stderr.open
    }

    /// The next text. None when there will be no more. Cancelling it loses nothing.
    async fn next(&mut self) -> Option<(Stream, String)> {
        while self.are_open() {
            let (stream, text) = tokio::select! {
                text = self.stdout.next(), if self.stdout.open => (Stream::Stdout, text),
                text = self.stderr.next(), if self.stderr.open => (Stream::Stderr, text),
            };
            if let Some(text) = text {
                return Some((stream, text));
            }
        }
        None
    }
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
        match read_now(&self.pipe, &mut chunk) {
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
        // No more than was there at first: a writer that goes on at full speed cannot keep this up.
        let (mut left, mut chunk) = (waiting(&self.pipe), [0; CHUNK]);
        while let Some(length) =
            (left > 0).then(|| read_now(&self.pipe, &mut chunk).ok()).flatten().filter(|&read| read > 0)
        {
            text.push_str(&self.decoder.decode(&chunk[..length]));
            left = left.saturating_sub(length as u64);
        }
        text.push_str(self.decoder.finish());
        text
    }
}
