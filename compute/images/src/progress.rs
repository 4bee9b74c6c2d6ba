//! What a bootstrap tells while it works.

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// The parts of a bootstrap, in their order. Each is kept when it is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Debian packages are downloaded and installed.
    Packages,
    /// npm and its packages are installed.
    Node,
    /// The user and the settings are made.
    System,
    /// Every promised program runs once.
    Check,
    /// The image is measured, written to the disk and shown in the store.
    Publish,
}

impl Phase {
    /// All, in their order.
    pub const ALL: [Self; 5] = [Self::Packages, Self::Node, Self::System, Self::Check, Self::Publish];

    /// One word, also the name of the mark in the build's folder.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Packages => "packages",
            Self::Node => "node",
            Self::System => "system",
            Self::Check => "check",
            Self::Publish => "publish",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Listens to a bootstrap. All methods are called on the thread that it runs on.
pub trait Progress {
    /// A phase begins; `resumed` when an earlier attempt has finished it.
    fn phase(&mut self, phase: Phase, resumed: bool);
    /// A line that a tool printed.
    fn line(&mut self, line: &str);
    /// The current phase is finished.
    fn done(&mut self, elapsed: Duration);
    /// Something worth reading that is no error.
    fn note(&mut self, text: &str);
}

/// Progress for a person, on standard error: a live line on a terminal, else a line for each phase.
#[derive(Debug)]
pub struct Console {
    live: bool,
    phase: Phase,
    started: Instant,
}

impl Console {
    /// Looks whether standard error is a terminal.
    pub fn new() -> Self {
        Self { live: rustix::termios::isatty(io::stderr()), phase: Phase::Packages, started: Instant::now() }
    }

    fn head(&self) -> String {
        let index = self.phase as usize + 1;
        let elapsed = self.started.elapsed().as_secs();
        format!("[{index}/{}] {:<8} {:02}:{:02}", Phase::ALL.len(), self.phase, elapsed / 60, elapsed % 60)
    }

    fn print(&self, text: &str, last: bool) {
        let mut out = io::stderr().lock();
        // A terminal that went away must not end the bootstrap.
        let _ = match (self.live, last) {
            (true, true) => writeln!(out, "\r\x1b[K{text}"),
            (true, false) => write!(out, "\r\x1b[K{text}").and_then(|()| out.flush()),
            (false, _) => writeln!(out, "{text}"),
        };
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Console {
    fn phase(&mut self, phase: Phase, resumed: bool) {
        self.phase = phase;
        if resumed {
            self.print(&format!("{} kept from an earlier run", self.head()), true);
        } else {
            self.print(&self.head(), false);
        }
    }

    fn line(&mut self, line: &str) {
        if self.live {
            let detail: String = line.chars().filter(|c| !c.is_control()).take(56).collect();
            self.print(&format!("{} {detail}", self.head()), false);
        }
    }

    fn done(&mut self, elapsed: Duration) {
        self.print(&format!("{} done in {:.1} s", self.head(), elapsed.as_secs_f64()), true);
    }

    fn note(&mut self, text: &str) {
        self.print(text, true);
    }
}
