//! What sandboxes were not let reach, written down beside each sandbox's other files.
//!
//! A line of JSON per refusal. The file is put aside when it is full, and what was put aside before is dropped, so that a
//! sandbox can't fill the disk. A thread of its own writes: who refuses never waits for the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use sebring_types::{Denial, SandboxId};

use crate::NetworkError;

const FILE: &str = "network-log.jsonl";
const EARLIER: &str = "network-log.1.jsonl";
/// Bytes of one file, of which there are two.
const SIZE: u64 = 64 * 1024;
/// Refusals that wait to be written; more are dropped.
const WAITING: usize = 4096;

/// Where refusals are written. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Denials {
    /// Holds a directory per sandbox.
    sandboxes: PathBuf,
    writer: SyncSender<Work>,
}

enum Work {
    Write(SandboxId, Denial),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

impl Denials {
    pub fn start(sandboxes: &Path) -> Result<Self, NetworkError> {
        let (writer, work) = sync_channel(WAITING);
        let directory = sandboxes.to_owned();
        std::thread::Builder::new()
            .name("network-log".into())
            .spawn(move || write(&directory, &work))
            .map_err(NetworkError::io("thread of the network log"))?;
        Ok(Self { sandboxes: sandboxes.to_owned(), writer })
    }

    pub fn note(&self, id: SandboxId, denial: Denial) {
        tracing::debug!(sandbox_id = %id, ?denial, "refused");
        if self.writer.try_send(Work::Write(id, denial)).is_err() {
            tracing::debug!(sandbox_id = %id, "a refusal was not noted: the disk is slower than they come");
        }
    }

    /// Returns when everything noted so far is written. Blocks.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.writer.send(Work::Flush(done)).is_ok() {
            // An error means that the thread is gone, and nothing will be written.
            let _ = written.recv();
        }
    }

    /// What is known of a sandbox, the oldest first. Blocks.
    pub fn read(&self, id: SandboxId) -> io::Result<Vec<Denial>> {
        self.flush();
        let directory = self.sandboxes.join(id.to_string());
        let mut denials = Vec::new();
        for file in [EARLIER, FILE] {
            let text = match std::fs::read_to_string(directory.join(file)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            // The last line may be cut, where the server was killed.
            denials.extend(text.lines().filter_map(|line| serde_json::from_str::<Denial>(line).ok()));
        }
        Ok(denials)
    }
}

fn write(sandboxes: &Path, work: &Receiver<Work>) {
    while let Ok(work) = work.recv() {
        match work {
            Work::Write(id, denial) => {
                if let Err(error) = append(&sandboxes.join(id.to_string()), &denial) {
                    tracing::debug!(sandbox_id = %id, %error, "a refusal was not written");
                }
            }
            // Who asked may have gone.
            Work::Flush(done) => drop(done.send(())),
        }
    }
}

fn append(directory: &Path, denial: &Denial) -> io::Result<()> {
    let path = directory.join(FILE);
    let mut line = serde_json::to_vec(denial)?;
    line.push(b'\n');
    let open = |path: &Path| -> io::Result<File> { OpenOptions::new().append(true).create(true).open(path) };
    let mut file = open(&path)?;
    if file.metadata()?.len() + line.len() as u64 > SIZE {
        std::fs::rename(&path, directory.join(EARLIER))?;
        file = open(&path)?;
    }
    file.write_all(&line)
}

/// How many refusals of one sandbox are noted: many at once, few all the time.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u32,
    counted: Instant,
    unnoted: u64,
}

impl Budget {
    const MOST: u32 = 100;
    const EACH: Duration = Duration::from_millis(100);

    pub fn new() -> Self {
        Self { left: Self::MOST, counted: Instant::now(), unnoted: 0 }
    }

    /// Whether one more may be noted, and how many were not since the last.
    pub fn take(&mut self, now: Instant) -> Option<u64> {
        let earned = now.saturating_duration_since(self.counted).as_millis() / Self::EACH.as_millis();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(earned).min(Self::MOST);
        self.counted += Self::EACH * earned.min(1_000_000);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Some(std::mem::take(&mut self.unnoted))
            }
            None => {
                self.unnoted += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use jiff::Timestamp;
    use sebring_types::denial::{Protocol, Reason};

    use super::*;

    fn denial(port: u16) -> Denial {
        Denial {
            at: Timestamp::UNIX_EPOCH,
            protocol: Protocol::Tls,
            name: Some("x.test".to_owned()),
            address: Some(Ipv4Addr::new(192, 0, 2, 1)),
            port: Some(port),
            reason: Reason::NameNotAllowed,
            unnoted: 0,
        }
    }

    #[test]
    fn keeps_the_latest_in_order() {
        let scratch = tempfile::tempdir().expect("a directory");
        let id = SandboxId::generate();
        let directory = scratch.path().join(id.to_string());
        let denials = Denials::start(scratch.path()).expect("a thread");
        denials.note(id, denial(1));
        assert_eq!(denials.read(id).expect("no log"), [], "the sandbox has no directory");
        std::fs::create_dir(&directory).expect("a directory");
        for port in 0..3000 {
            denials.note(id, denial(port));
        }
        let kept = denials.read(id).expect("a log");
        assert!((500..3000).contains(&kept.len()), "{}", kept.len());
        let ports: Vec<u16> = kept.iter().filter_map(|denial| denial.port).collect();
        assert_eq!(ports, (3000 - kept.len() as u16..3000).collect::<Vec<_>>());
        let size: u64 = [FILE, EARLIER].map(|file| directory.join(file).metadata().expect("a file").len()).iter().sum();
        assert!(size <= 2 * SIZE);
    }

    #[test]
    fn a_budget_counts_what_it_refuses() {
        let mut budget = Budget::new();
        let begun = budget.counted;
        for _ in 0..Budget::MOST {
            assert_eq!(budget.take(begun), Some(0));
        }
        assert_eq!((budget.take(begun), budget.take(begun)), (None, None));
        assert_eq!(budget.take(begun + Budget::EACH), Some(2));
        assert_eq!(budget.take(begun + Budget::EACH), None);
        for _ in 0..Budget::MOST {
            assert!(budget.take(begun + Duration::from_hours(1)).is_some());
        }
        assert_eq!(budget.take(begun + Duration::from_hours(1)), None);
    }
}
