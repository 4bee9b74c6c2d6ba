//! News from the kernel that a sandbox ran out of memory: no polling, no thread, one descriptor for each sandbox.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::event::{EventfdFlags, eventfd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::detect::Version;

/// Kills for lack of memory so far, as `memory.events` (v2) and `memory.oom_control` (v1) count them.
pub(super) fn kills(path: &Path, version: Version) -> io::Result<u64> {
    let file = match version {
        Version::V1 => "memory.oom_control",
        Version::V2 => "memory.events",
    };
    Ok(parse_kills(&std::fs::read_to_string(path.join(file))?))
}

fn parse_kills(text: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
}

/// Tells when a group runs out of memory.
#[derive(Debug)]
pub enum MemoryWatch {
    /// An event descriptor that the kernel counts up before it looks for a victim.
    Notified(AsyncFd<OwnedFd>),
    /// `memory.events`, which becomes ready with each change, and the kills that were told of.
    Counted { file: AsyncFd<File>, kills: u64 },
}

impl MemoryWatch {
    /// What happened before is not told. Needs a Tokio runtime.
    pub(super) fn new(path: &Path, version: Version) -> io::Result<Self> {
        match version {
            Version::V1 => Self::notified(path),
            Version::V2 => Self::counted(path.join("memory.events")),
        }
    }

    /// Kernel documentation, admin-guide/cgroup-v1/memory.rst, "OOM Control".
    fn notified(path: &Path) -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let control = File::open(path.join("memory.oom_control"))?;
        let request = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
        OpenOptions::new().write(true).open(path.join("cgroup.event_control"))?.write_all(request.as_bytes())?;
        // SAFETY: an owned descriptor keeps its number until it is dropped.
        Ok(Self::Notified(unsafe { AsyncFd::register_with_interest(event, Interest::READABLE) }?))
    }

    fn counted(path: PathBuf) -> io::Result<Self> {
        let file = File::open(path)?;
        let kills = parse_kills(&read(&file)?);
        // SAFETY: as above.
        Ok(Self::Counted { file: unsafe { AsyncFd::register_with_interest(file, Interest::PRIORITY) }?, kills })
    }

    /// Waits for the next change; answers whether memory ran out. On v2 the limit may just have been touched. Losing
    /// the future loses nothing.
    pub async fn next(&mut self) -> io::Result<bool> {
        match self {
            Self::Notified(event) => {
                let mut ready = event.readable().await?;
                let mut count = [0; 8];
                match ready.try_io(|event| Ok(rustix::io::read(event.get_ref(), &mut count)?)) {
                    Ok(read) => read.map(|_| true),
                    Err(_would_block) => Ok(false),
                }
            }
            Self::Counted { file, kills } => {
                file.ready(Interest::PRIORITY).await?.clear_ready();
                let before = std::mem::replace(kills, parse_kills(&read(file.get_ref())?));
                Ok(*kills > before)
            }
        }
    }
}

/// From its start, which also asks the kernel to tell of the next change.
fn read(file: &File) -> io::Result<String> {
    let mut text = [0; 512];
    let length = file.read_at(&mut text, 0)?;
    Ok(String::from_utf8_lossy(&text[..length]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_alike_in_both_versions() {
        assert_eq!(parse_kills("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"), 2);
        assert_eq!(parse_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), 7);
        assert_eq!(parse_kills("low 0\n"), 0);
    }
}
