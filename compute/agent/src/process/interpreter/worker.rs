//! The Python process of a context.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::wire;
use crate::agent::Agent;
use crate::http::error::Failure;
use crate::process::engine::{Process, Streams};
use crate::process::environment::Variables;
use crate::process::ledger::{Keep, Ledger};
use crate::process::pipe::Pipe;
use crate::process::program::{self, Program};
use crate::process::spawn::SpawnError;

const DRIVER: &str = include_str!("driver.py");
const CHUNK: usize = 32 * 1024;
/// Output that is kept for the client of an execution. The code is held up when the client is half of it behind; the
/// other half has room for what both pipes hold at the end.
const KEPT: usize = 512 * 1024;

pub struct Worker {
    process: Process,
    ledger: Arc<Ledger>,
    requests: Pipe,
    reports: Pipe,
    /// Of reports, what has been read.
    buffer: Vec<u8>,
    /// What the present request is called; only the process itself knows.
    request: String,
}

/// An exception that the code did not catch.
#[derive(Debug)]
pub struct Error {
    pub name: String,
    pub value: String,
    pub traceback: String,
}

/// What the process says of an execution.
#[derive(Debug)]
pub enum Report {
    /// It can be interrupted from now on; before, an interrupt is lost.
    Begun,
    Done(Option<Error>),
}

/// The process cannot be used any more.
#[derive(Debug)]
pub struct Lost;

impl Worker {
    pub fn start(agent: &Agent, directory: &Path) -> Result<Self, Failure> {
        let variables = agent.variables(None)?;
        let path = ["python3", "python"].iter().find_map(|name| program::find(name, &variables)).ok_or_else(|| {
            Failure::bad_request("the sandbox has no python3 in its PATH: install it, or use another snapshot")
        })?;
        let (request_reader, requests) = io::pipe()?;
        let (reports, report_writer) = io::pipe()?;
        let program = Program {
            path: &path,
            arguments: vec!["-u".to_owned(), "-c".to_owned(), DRIVER.to_owned()],
            variables: &variables,
            directory,
        };
        let ledger = Arc::new(Ledger::new(Keep::Newest, KEPT));
        let files = vec![request_reader.into(), report_writer.into()];
        let process =
            Process::start(agent, &program, Streams::Apart, files, Arc::clone(&ledger)).map_err(
                |error| match error {
                    SpawnError::Directory { .. } => Failure::bad_request(error.to_string()),
                    error => error.into(),
                },
            )?;
        let (requests, reports) = (Pipe::new(requests)?, Pipe::new(reports)?);
        Ok(Self { process, ledger, requests, reports, buffer: Vec::new(), request: String::new() })
    }

    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.ledger)
    }

    /// The position after everything that has been written.
    pub fn position(&self) -> u64 {
        self.process.drain();
        self.ledger.end()
    }

    /// Starts an execution; the former one must be done.
    pub async fn send(&mut self, code: &str, variables: &Variables) -> io::Result<()> {
        self.request = format!("{:x}", RandomState::new().build_hasher().finish());
        let fields = variables.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
        self.requests.write(&wire::encode([self.request.as_str(), code].into_iter().chain(fields))).await
    }

    /// Raises `KeyboardInterrupt` in the code, and ends programs that it waits for, as a terminal does.
    pub fn interrupt(&self) {
        self.process.signal(libc::SIGINT);
    }

    /// Ends the process; what it wrote until then is in the ledger.
    pub async fn kill(&self) {
        self.process.kill().await;
    }

    /// Waits for the next report of the present execution. Cancelling it loses nothing.
    pub async fn report(&mut self) -> Result<Report, Lost> {
        loop {
            if let Some(fields) = wire::decode(&mut self.buffer).map_err(|_| Lost)? {
                return understand(&self.request, fields);
            }
            self.reports.readable().await;
            let mut chunk = [0; CHUNK];
            match self.reports.read(&mut chunk) {
                Ok(length) if length > 0 => self.buffer.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return Err(Lost),
            }
        }
    }
}

/// What a report means: one that does not name the request is not the process's own.
fn understand(request: &str, fields: Vec<String>) -> Result<Report, Lost> {
    let mut fields = fields.into_iter();
    if fields.next().as_deref() != Some(request) {
        return Err(Lost);
    }
    match fields.collect::<Vec<_>>().as_mut_slice() {
        [] => Ok(Report::Done(None)),
        [begun] if begun == "begun" => Ok(Report::Begun),
        [name, value, traceback] => {
            let [name, value, traceback] = [name, value, traceback].map(std::mem::take);
            Ok(Report::Done(Some(Error { name, value, traceback })))
        }
        _ => Err(Lost),
    }
}
