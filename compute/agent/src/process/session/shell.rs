//! The shell of a session, and how commands reach it.
//!
//! One shell process lives as long as its session and reads lines of ours from its script ([`script`](super::script)).
//! A command's text is a file that such a line sources, so that an open quote, a here-document or a last backslash end
//! with the file, `return` leaves it, and everything it changes in the shell stays. Its streams are redirections of that
//! line: named pipes, and `/dev/null` as the input of commands that somebody waits for. When the shell reads on, the
//! command is over, and the line that it reads makes an empty file whose name ends in the exit code. The next line is
//! read after that one was run: if there is no such file then, the shell has gone deaf, and the session ends.
//!
//! The reference for what a command may do to the shell is a shell that people type into:
//!
//! | a command does | what happens | where it differs |
//! |---|---|---|
//! | text with an open quote, half an `if` | a syntax error is its result, the session goes on | dash: also for `${x?}`, `set -u` |
//! | `return 3` | ends the command with 3 | |
//! | `exit 3`, `exec program`, `kill $$` | ends the session with that code, after the output of an `EXIT` trap | |
//! | `set -e`, then a failure | ends the session with that code, as it ends a typed shell | zsh: `ERR_RETURN` alike |
//! | `set -e`, then a status that it forgives: `false \|\| true`, `if false`, `! true`, `false && x` | is the command's exit code, the session goes on | with a here-document or `set -v`, such a last status other than 0 ends it |
//! | `set -u`, then an unset variable | ends the session, as it ends a script | dash, zsh: goes on |
//! | functions or aliases named as any builtin | the session goes on: of the ways to source a file, one that works is found before each command; if none does, the functions before them are unset | dash refuses names of special builtins; where `command` is taken, it parses each text in a subshell first, since a syntax error would end it |
//! | `PATH`, `IFS`, `PS4`, `set -C`, `set -f`, `umask`, `unset -f`, `trap '' EXIT` | stays for later commands, and nothing of ours depends on it | |
//! | `exec 1>&-`, `exec >file` | holds for that command: each one gets its own streams; other descriptors stay | |
//! | `set -x`, `set -v` | traces the commands, not the lines around them | |
//! | `trap … DEBUG` | holds for later commands as for sourced files: in bash with `set -T` only | zsh: always |
//! | `trap … RETURN` | runs at the end of each command | bash only |
//! | `trap … ERR` | runs once more after a command that fails, unseen | |
//! | `set -n`, a `DEBUG` trap that skips every command | the shell is deaf: the command says so, the session ends | |
//! | `BASH_ENV`, `ZDOTDIR`, `/etc/zshenv` | read at the session's start, as by every script | |

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Weak};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::Session;
use super::command::Command;
use super::script::{Directory, Script};
use crate::agent::Agent;
use crate::guest::memory::Kills;
use crate::http::error::Failure;
use crate::process::children::Exit;
use crate::process::engine::{Process, Streams};
use crate::process::ledger::{Channel, Keep, Ledger};
use crate::process::outputs::{Output, Outputs};
use crate::process::pipe::Pipe;
use crate::process::program::Program;
use crate::process::shell;

/// Ways to source a file. A function may stand before each of these names; `command` comes first for it keeps POSIX
/// shells alive after a syntax error in the file. It finds no builtins in zsh.
const WAYS: [&str; 4] = ["\\command .", "\\.", "\\builtin .", "\\source"];
/// Takes the functions of those names away, by builtins that no function of bash stands before in POSIX mode.
const REMEDY: [&str; 3] = ["POSIXLY_CORRECT=y", "\\unset -f . command builtin source", "\\unset POSIXLY_CORRECT"];
/// Begins the names of our variables. An assignment is the one command that neither an alias nor a function stands
/// before; it keeps the exit code and, by its redirection, makes the file that tells it.
const MINE: &str = "_sebring";
/// The end of a file whose last status the shell must not take for a failure: the file's own is 0 then. Its trace goes
/// nowhere. The line before it is for a text that ends in a backslash.
const FORGIVING: &str = "\n{ _sebring_status=$?; } >/dev/null 2>&1\n";
/// The exit code of shells for it.
const SYNTAX_ERROR: i32 = 2;
/// Begins a file that is parsed only.
const PARSING: &str = "{ \\set -n; } 2>/dev/null\n";
/// What the shell says outside of its commands' streams, at most.
const OWN_OUTPUT: usize = 64 * 1024;

/// Starts a session with its shell in the work directory.
pub fn start(agent: &Agent, id: &str) -> Result<Arc<Session>, Failure> {
    let variables = agent.variables(None)?;
    let path = shell::find(&variables)
        .ok_or_else(|| Failure::bad_request("the image has no shell: install bash or sh, or use another snapshot"))?;
    let directory = Directory::make()?;
    let script = Script::make(&directory.path("sh"))?;
    let program = Program {
        path: &path,
        arguments: vec![directory.path("sh").to_string_lossy().into_owned()],
        variables: &variables,
        directory: &agent.work_dir,
    };
    let own = Arc::new(Ledger::new(Keep::Newest, OWN_OUTPUT));
    let process = Process::start(agent, &program, Streams::Apart, Vec::new(), Arc::clone(&own))?;
    let (queue, commands) = unbounded_channel();
    let session = Arc::new(Session::new(id, queue));
    let shell = Shell {
        process,
        script,
        directory,
        own,
        commands,
        waiting: VecDeque::new(),
        way: 0,
        status: 0,
        options: String::new(),
        is_plain: is_plain(&path),
        number: 0,
    };
    session.set_task(tokio::spawn(shell.serve(Arc::downgrade(&session))));
    Ok(session)
}

struct Shell {
    process: Process,
    script: Script,
    directory: Directory,
    /// The shell's own output: traces of our lines, what a trap says at its end, errors outside of commands.
    own: Arc<Ledger>,
    /// Ends when the session is deleted.
    commands: UnboundedReceiver<Arc<Command>>,
    waiting: VecDeque<Arc<Command>>,
    /// Of [`WAYS`], the one that worked last.
    way: usize,
    /// Of the command before, which `$?` tells the next one.
    status: i32,
    /// The shell's options (`$-`) when the former command ended. With `e` it takes that code for a failure.
    options: String,
    /// A syntax error in a sourced file ends it.
    is_plain: bool,
    /// Of the present command.
    number: u64,
}

/// A command in the shell's hands.
struct Running {
    command: Arc<Command>,
    /// Its file ends with [`FORGIVING`].
    forgives: bool,
    outputs: Arc<Outputs>,
    /// A pipe that nobody has opened for writing has no end; these are let go when the command has ended.
    _hold: [File; 2],
}

/// Why the shell takes no more lines.
#[derive(Debug, Clone, Copy)]
enum Stop {
    Ended(Exit),
    /// It reads lines but does not run them.
    Deaf,
    Deleted,
}

impl Shell {
    /// Runs one command after the other. When the shell ends, what it left in the background lives on until the
    /// session is deleted.
    async fn serve(mut self, session: Weak<Session>) {
        let stop = loop {
            let command = match self.next().await {
                Ok(command) => command,
                Err(stop) => break stop,
            };
            if let Err(stop) = self.run(&command).await {
                break stop;
            }
        };
        if let Some(session) = session.upgrade() {
            session.end(match stop {
                Stop::Ended(exit) => format!("has ended with exit code {}", exit.code()),
                Stop::Deaf => "does not run commands any more".to_owned(),
                Stop::Deleted => "is deleted".to_owned(),
            });
        }
        while let Some(command) = self.waiting.pop_front() {
            abandon(&command).await;
        }
        while let Some(command) = self.commands.recv().await {
            abandon(&command).await;
        }
        self.process.kill().await;
    }

    async fn next(&mut self) -> Result<Arc<Command>, Stop> {
        if let Some(command) = self.waiting.pop_front() {
            return Ok(command);
        }
        tokio::select! {
            command = self.commands.recv() => command.ok_or(Stop::Deleted),
            end = self.process.ended() => Err(Stop::Ended(end.exit)),
        }
    }

    async fn run(&mut self, command: &Arc<Command>) -> Result<(), Stop> {
        self.number += 1;
        let kills = Kills::count();
        let running = match self.prepare(command).await {
            Ok(running) => running,
            Err(error) => {
                command.ledger.append(Channel::Stderr, format!("cannot run the command: {error}\n").as_bytes());
                command.finish(-1).await;
                return Ok(());
            }
        };
        let done = self.execute(&running).await;
        running.outputs.drain();
        self.add_own_output(command, done.is_err());
        for kind in ["", ".in", ".out", ".err", ".try"] {
            self.directory.remove(&format!("{}{kind}", self.number));
        }
        let explain = |exit: Exit| {
            if let Some(note) = kills.explain(exit) {
                command.ledger.append(Channel::Stderr, note.as_bytes());
            }
            exit.code()
        };
        let code = match done {
            Ok(code) => explain(Exit::Code(code)),
            Err(Stop::Deleted) => Exit::Signal(libc::SIGKILL).code(),
            Err(Stop::Deaf) => {
                command.ledger.append(
                    Channel::Stderr,
                    b"the session's shell does not run commands any more, as after set -n: create another session\n",
                );
                -1
            }
            Err(Stop::Ended(exit)) => explain(exit),
        };
        self.status = code;
        command.finish(code).await;
        done.map(drop)
    }

    /// Makes the command's file and pipes.
    async fn prepare(&mut self, command: &Arc<Command>) -> io::Result<Running> {
        self.directory.restore()?;
        let name = |kind: &str| format!("{}.{kind}", self.number);
        if command.takes_input {
            let input = self.directory.pipe(&name("in"))?;
            // Open for reading as well, so that it opens before the command reads, and never ends before it.
            let pipe = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&input)?;
            command.open_input(Pipe::new(pipe)?).await;
        }
        let (stdout, stderr) = (self.directory.pipe(&name("out"))?, self.directory.pipe(&name("err"))?);
        let read = |path: &Path| OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let write = |path: &Path| OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path);
        let output = |channel, path| Output::new(channel, read(path)?);
        let (first, second) = (output(Channel::Stdout, &stdout)?, output(Channel::Stderr, &stderr)?);
        let hold = [write(&stdout)?, write(&stderr)?];
        let outputs = Arc::new(Outputs::new(Arc::clone(&command.ledger), first, Some(second)));
        let forgives = must_forgive(&self.options, &command.text);
        let end = if forgives { FORGIVING } else { "" };
        self.directory.write(&self.number.to_string(), &format!("{}\n{end}", command.text))?;
        // Also what it leaves in the background.
        let reading = Arc::clone(&outputs);
        tokio::spawn(async move { reading.read_to_end().await });
        Ok(Running { command: Arc::clone(command), forgives, outputs, _hold: hold })
    }

    /// The command's exit code.
    async fn execute(&mut self, running: &Running) -> Result<i32, Stop> {
        let way = self.find_way().await?;
        if self.is_plain && way != WAYS[0] && !self.parses(way, running).await? {
            return Ok(SYNTAX_ERROR);
        }
        let mut status = "$?".to_owned();
        if running.forgives {
            status = format!("${{{MINE}_status:-$?}}");
            self.say(&format!("{MINE}_status=\n")).await?;
        }
        if self.status != 0 && !self.options.contains('e') {
            self.directory.write("status", &format!("\\return {}\n", self.status)).map_err(|_| Stop::Deaf)?;
            let line = format!("{way} {}\n", self.directory.word("status"));
            self.say(&line).await?;
        }
        self.own_output();
        let word = |kind: &str| self.directory.word(&format!("{}{kind}", self.number));
        let input = if running.command.takes_input { word(".in") } else { "/dev/null".to_owned() };
        let line = format!("{way} {} <{input} >|{} 2>|{}\n", word(""), word(".out"), word(".err"));
        self.say(&line).await?;
        // Its name is not known before the command is at work.
        let report = format!("{}.{:x}.", self.number, RandomState::new().build_hasher().finish());
        let line = format!("{MINE}= >|\"{}${MINE}_status.$-\"\n", self.directory.path(&report).display());
        self.say(&format!("{MINE}_status={status}\n{line}")).await?;
        self.say("\n").await?;
        if self.directory.restore().is_ok_and(|restored| restored) {
            self.say(&line).await?;
            self.say("\n").await?;
        }
        let told = self.directory.find(&report).ok_or(Stop::Deaf)?;
        self.directory.remove(&format!("{report}{told}"));
        let (code, options) = told.split_once('.').ok_or(Stop::Deaf)?;
        self.options = options.to_owned();
        code.parse().map_err(|_| Stop::Deaf)
    }

    /// Whether the command's text has no syntax error. The shell says which.
    async fn parses(&mut self, way: &str, running: &Running) -> Result<bool, Stop> {
        let name = |kind: &str| format!("{}{kind}", self.number);
        let text = format!("{PARSING}{}\n", running.command.text);
        self.directory.write(&name(".try"), &text).map_err(|_| Stop::Deaf)?;
        let [text, errors, alive] = [&name(".try"), &name(".err"), "alive"].map(|name| self.directory.word(name));
        self.say(&format!("({way} {text} 2>|{errors}) && {MINE}= >|{alive}\n")).await?;
        self.say("\n").await?;
        Ok(self.directory.remove("alive"))
    }

    /// A way to source files that works at present.
    async fn find_way(&mut self) -> Result<&'static str, Stop> {
        for remedy in [&[][..], &REMEDY] {
            for line in remedy {
                self.say(&format!("{line}\n")).await?;
            }
            for _ in WAYS {
                let way = WAYS[self.way];
                let probe = format!("{way} {} >|{}\n", self.directory.word("nothing"), self.directory.word("alive"));
                let written = self.directory.write("nothing", "").and_then(|()| self.directory.write("probe", &probe));
                written.map_err(|_| Stop::Deaf)?;
                // `||`, for `set -e` must not take a way that is none for a failure.
                let line = format!("{way} {} || {MINE}=\n", self.directory.word("probe"));
                self.say(&line).await?;
                self.say("\n").await?;
                if self.directory.remove("alive") {
                    return Ok(way);
                }
                self.way = (self.way + 1) % WAYS.len();
            }
        }
        Err(Stop::Deaf)
    }

    /// Gives the shell a line, and waits until it has read it.
    async fn say(&mut self, line: &str) -> Result<(), Stop> {
        if self.script.send(line).await.is_err() {
            return Err(Stop::Deaf);
        }
        loop {
            tokio::select! {
                taken = self.script.taken() => return taken.map_err(|_| Stop::Deaf),
                end = self.process.ended() => return Err(Stop::Ended(end.exit)),
                next = self.commands.recv() => match next {
                    Some(next) => self.waiting.push_back(next),
                    None => {
                        self.process.kill().await;
                        return Err(Stop::Deleted);
                    }
                },
            }
        }
    }

    /// What the shell wrote outside of commands since the last call, to its output and to its error output.
    fn own_output(&mut self) -> [String; 2] {
        self.process.drain();
        let mut texts = [Vec::new(), Vec::new()];
        for (channel, bytes) in self.own.take() {
            texts[usize::from(channel == Channel::Stderr)].extend(bytes);
        }
        texts.map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    /// What the shell itself had to say: errors of redirections, zsh's traces; at its end also what a trap wrote.
    fn add_own_output(&mut self, command: &Command, ended: bool) {
        let [stdout, stderr] = self.own_output();
        let theirs = |text: String| -> String {
            text.split_inclusive('\n')
                .filter(|line| !self.directory.is_mentioned(line) && !line.contains(MINE))
                .collect()
        };
        if ended {
            command.ledger.append(Channel::Stdout, stdout.as_bytes());
        }
        command.ledger.append(Channel::Stderr, theirs(stderr).as_bytes());
    }
}

/// Whether it is a POSIX shell without extensions, or bash when it is called as one.
fn is_plain(path: &Path) -> bool {
    let real = path.canonicalize().unwrap_or_default();
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    path.ends_with("sh") || !(name.starts_with("bash") || name.starts_with("zsh"))
}

/// Whether the shell might exit for the text's last status, be it one that `set -e` forgives, like that of `! true` or
/// `false && x`. Where more text would change what the text means, or be shown, nothing can be done about it.
fn must_forgive(options: &str, text: &str) -> bool {
    let sets = |option| {
        text.split("set -").skip(1).filter_map(|rest| rest.split_whitespace().next()).any(|word| word.contains(option))
    };
    let exits = options.contains('e') || sets('e') || text.contains("errexit");
    exits && !options.contains('v') && !sets('v') && !text.contains("<<") && !text.trim_end().ends_with(['&', '|'])
}

async fn abandon(command: &Command) {
    command.ledger.append(Channel::Stderr, b"the session's shell ended before this command ran\n");
    command.finish(-1).await;
}
