//! Runs a tool of the bootstrap: each line that it prints goes to the log and to the progress.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Command;

use crate::error::{BootstrapError, StoreError};
use crate::failure;
use crate::progress::{Phase, Progress};

/// How many of a tool's last lines are searched for the cause of its failure.
const REMEMBERED: usize = 200;
/// What one line may have; the rest of a longer one counts as the next.
const LINE_LIMIT: u64 = 64 * 1024;

/// Where the tools' output goes, and what they hold while they run.
pub struct Steps<'a> {
    log: File,
    log_path: PathBuf,
    /// Given to each tool as its (empty) standard input: while one runs, also without us, the store stays locked.
    lock: File,
    progress: &'a mut dyn Progress,
}

impl<'a> Steps<'a> {
    /// Begins a new log.
    pub fn new(log_path: PathBuf, lock: File, progress: &'a mut dyn Progress) -> Result<Self, StoreError> {
        let log = File::create(&log_path).map_err(StoreError::io("can't write", &log_path))?;
        Ok(Self { log, log_path, lock, progress })
    }

    /// Who listens.
    pub fn progress(&mut self) -> &mut dyn Progress {
        self.progress
    }

    /// Runs the tool `program`, started by `command`, to its end.
    pub fn run(&mut self, phase: Phase, program: &str, mut command: Command) -> Result<(), BootstrapError> {
        let spawn = |source| BootstrapError::Spawn { program: program.to_owned(), source };
        let (output, writer) = io::pipe().map_err(spawn)?;
        command.stdin(self.lock.try_clone().map_err(spawn)?).stdout(writer.try_clone().map_err(spawn)?).stderr(writer);
        let mut child = command.spawn().map_err(spawn)?;
        // It holds our ends of the pipe.
        drop(command);
        let last = self.follow(BufReader::new(output));
        let status = child.wait().map_err(spawn)?;
        let last = last.map_err(StoreError::io("can't write", &self.log_path))?;
        if status.success() {
            return Ok(());
        }
        Err(failure::explain(phase, program, &status.to_string(), &last, &self.log_path))
    }

    fn follow(&mut self, mut output: impl BufRead) -> io::Result<Vec<String>> {
        let mut last = VecDeque::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if io::Read::take(&mut output, LINE_LIMIT).read_until(b'\n', &mut line)? == 0 {
                return Ok(last.into());
            }
            self.log.write_all(&line)?;
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.progress.line(&text);
            if last.len() == REMEMBERED {
                last.pop_front();
            }
            last.push_back(text);
        }
    }
}
