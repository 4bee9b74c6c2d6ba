//! The shell of a session, and how commands reach it.
//!
//! The shell reads its script from a pipe. For each command the script has one line: an `eval` of the command within
//! braces, so that what it changes in the shell stays, with its three streams on named pipes of its own, then a
//! report of the exit code on descriptor 3. Braces with redirections keep the script and the report out of the
//! command's reach. The named pipes live in memory (`/dev/shm`) so that sessions work on a full disk.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use nix::sys::stat::Mode;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::unix::pipe;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::Session;
use super::command::{Command, Outputs, set_nonblocking};
use crate::agent::Agent;
use crate::guest::memory::Kills;
use crate::http::error::Failure;
use crate::process::children::Exit;
use crate::process::job::Job;
use crate::process::log::Stream;
use crate::process::program::Program;
use crate::process::shell;

/// In memory, so also there when the disk is full; `/tmp` where the sandbox has none.
const PLACES: [&str; 2] = ["/dev/shm", "/tmp"];

/// Starts a session with its shell in the work directory.
pub fn start(agent: &Agent, id: &str) -> Result<Arc<Session>, Failure> {
    let variables = agent.variables(None)?;
    let path = shell::find(&variables)
        .ok_or_else(|| Failure::bad_request("the image has no shell: install bash or sh, or use another snapshot"))?;
    let (script_reader, script) = io::pipe()?;
    let (report, report_writer) = io::pipe()?;
    let nothing = OpenOptions::new().write(true).open("/dev/null")?;
    let descriptors = [script_reader.as_fd(), nothing.as_fd(), nothing.as_fd(), report_writer.as_fd()];
    let program = Program {
        path: &path,
        arguments: Vec::new(),
        variables: &variables,
        directory: &agent.work_dir,
        descriptors: &descriptors,
        terminal: false,
    };
    let directory = Directory::make()?;
    let job = Job::start(&program, &agent.children, &agent.identity)?;
    set_nonblocking(&script)?;
    set_nonblocking(&report)?;
    let script = pipe::Sender::from_owned_fd(script.into())?;
    let reports = BufReader::new(pipe::Receiver::from_owned_fd(report.into())?).lines();
    let (queue, commands) = unbounded_channel();
    let session = Arc::new(Session::new(id, queue));
    let shell = Shell { job, script, reports, commands, waiting: VecDeque::new(), directory };
    session.set_task(tokio::spawn(shell.serve(Arc::downgrade(&session))));
    Ok(session)
}

struct Shell {
    job: Job,
    script: pipe::Sender,
    /// `NUMBER CODE` for each command that ended.
    reports: Lines<BufReader<pipe::Receiver>>,
    /// Ends when the session is deleted.
    commands: UnboundedReceiver<Arc<Command>>,
    waiting: VecDeque<Arc<Command>>,
    directory: Directory,
}

/// What a command's run means for the session.
enum Outcome {
    Next,
    ShellEnded,
    Deleted,
}

impl Shell {
    /// Runs one command after the other. When the shell ends, what it left in the background lives on until the
    /// session is deleted.
    async fn serve(mut self, session: Weak<Session>) {
        let mut outcome = Outcome::Next;
        let mut number = 0;
        while let Outcome::Next = outcome {
            outcome = match self.next().await {
                Ok(command) => {
                    number += 1;
                    self.run(&command, number).await
                }
                Err(outcome) => outcome,
            };
        }
        if let Some(session) = session.upgrade() {
            session.end();
        }
        while let Some(command) = self.waiting.pop_front() {
            abandon(&command).await;
        }
        while let Some(command) = self.commands.recv().await {
            abandon(&command).await;
        }
        self.job.kill();
        self.job.wait().await;
    }

    async fn next(&mut self) -> Result<Arc<Command>, Outcome> {
        if let Some(command) = self.waiting.pop_front() {
            return Ok(command);
        }
        tokio::select! {
            command = self.commands.recv() => command.ok_or(Outcome::Deleted),
            _ = self.job.wait() => Err(Outcome::ShellEnded),
        }
    }

    async fn run(&mut self, command: &Arc<Command>, number: u64) -> Outcome {
        let kills = Kills::count();
        match self.begin(command, number).await {
            Ok((outputs, hold)) => self.follow(command, number, outputs, (hold, kills)).await,
            Err(error) => {
                command.log.append(Stream::Stderr, format!("cannot run the command: {error}\n").as_bytes());
                command.finish(-1).await;
                Outcome::Next
            }
        }
    }

    async fn begin(&mut self, command: &Command, number: u64) -> io::Result<(Outputs, [File; 2])> {
        let [input, stdout, stderr] = self.directory.pipes(number)?;
        // Open for reading as well, so that it opens before the command reads, and never ends before it.
        command.open_input(pipe::OpenOptions::new().read_write(true).open_sender(&input)?).await;
        let read = |path: &Path| OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let write = |path: &Path| OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path);
        let outputs = Outputs::new(read(&stdout)?.into(), read(&stderr)?.into())?;
        // A pipe that nobody has opened for writing has no end; these are let go when the command has ended.
        let hold = [write(&stdout)?, write(&stderr)?];
        let line = format!(
            "{{ eval {}\n}} <{} >{} 2>{} 3>&-; command printf '%s\\n' \"{number} $?\" >&3\n",
            quoted(&command.text),
            quoted(&input.to_string_lossy()),
            quoted(&stdout.to_string_lossy()),
            quoted(&stderr.to_string_lossy()),
        );
        match self.script.write_all(line.as_bytes()).await {
            // A shell that is gone is noticed by its exit.
            Ok(()) | Err(_) => Ok((outputs, hold)),
        }
    }

    /// Reads the command's output until it, the shell or the session ends. `before` it were: what holds its pipes open, and
    /// the count of kills.
    async fn follow(
        &mut self,
        command: &Arc<Command>,
        number: u64,
        mut outputs: Outputs,
        before: ([File; 2], Kills),
    ) -> Outcome {
        let (hold, kills) = before;
        let (exit, outcome) = loop {
            tokio::select! {
                () = outputs.read_to_end(&command.log) => {}
                report = self.reports.next_line() => match report {
                    Ok(Some(report)) => if let Some(code) = parse_report(&report, number) {
                        break (Exit::Code(code), Outcome::Next);
                    },
                    // Descriptor 3 was closed by a command: the shell cannot be followed any more.
                    Ok(None) | Err(_) => break (self.job.wait().await, Outcome::ShellEnded),
                },
                exit = self.job.wait() => break (exit, Outcome::ShellEnded),
                next = self.commands.recv() => match next {
                    Some(next) => self.waiting.push_back(next),
                    None => {
                        self.job.kill();
                        break (self.job.wait().await, Outcome::Deleted);
                    }
                },
            }
        };
        outputs.drain(&command.log);
        self.directory.remove(number);
        if let Some(note) = kills.explain(exit) {
            command.log.append(Stream::Stderr, note.as_bytes());
        }
        command.finish(exit.code()).await;
        drop(hold);
        // What it left in the background may still write.
        let command = Arc::clone(command);
        tokio::spawn(async move { outputs.read_to_end(&command.log).await });
        outcome
    }
}

async fn abandon(command: &Command) {
    command.log.append(Stream::Stderr, b"the session's shell ended before this command ran\n");
    command.finish(-1).await;
}

fn parse_report(report: &str, number: u64) -> Option<i32> {
    let (of, code) = report.split_once(' ')?;
    (of.parse() == Ok(number)).then(|| code.parse().ok()).flatten()
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The named pipes of a session's present command.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn make() -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let name = format!(".sebring-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let place = PLACES.iter().map(Path::new).find(|place| place.is_dir()).unwrap_or(Path::new("/tmp"));
        let path = place.join(name);
        // Left from before a restart of the sandbox.
        let _ = fs::remove_dir_all(&path);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Standard input, output and error.
    fn paths(&self, number: u64) -> [PathBuf; 3] {
        ["in", "out", "err"].map(|kind| self.0.join(format!("{number}.{kind}")))
    }

    fn pipes(&self, number: u64) -> io::Result<[PathBuf; 3]> {
        let paths = self.paths(number);
        for path in &paths {
            nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        }
        Ok(paths)
    }

    fn remove(&self, number: u64) {
        for path in self.paths(number) {
            // The sandbox may have removed it.
            let _ = fs::remove_file(path);
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_reports() {
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(parse_report("3 127", 3), Some(127));
        assert_eq!(parse_report("2 0", 3), None);
        assert_eq!(parse_report("forged", 3), None);
    }
}
