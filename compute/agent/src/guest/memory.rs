//! Whether processes of the sandbox are killed for lack of memory, and what to say of it.

use std::fs;

use crate::process::children::Exit;

/// Kills so far, where the control group's files are shown: v2's `memory.events`, which the runtime shows on v1 as well.
#[derive(Debug, Clone, Copy)]
pub struct Kills(Option<u64>);

impl Kills {
    pub fn count() -> Self {
        let text = fs::read_to_string("/sys/fs/cgroup/memory.events").unwrap_or_default();
        Self(text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()))
    }

    /// What to add to the output of a program that ended as one that was killed does.
    pub fn explain(self, exit: Exit) -> Option<String> {
        let cause = (exit.code() == 128 + libc::SIGKILL).then(|| self.cause()).flatten()?;
        Some(format!("Killed: {cause}\n"))
    }

    /// That memory ran out, if since this count the kernel killed something to make room.
    pub fn cause(self) -> Option<String> {
        (Self::count().0? > self.0?).then(|| {
            let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").unwrap_or_default();
            let limit = limit.trim().parse::<u64>().map(|bytes| format!(" ({} MiB)", bytes >> 20)).unwrap_or_default();
            format!("the sandbox ran out of memory{limit}")
        })
    }
}
