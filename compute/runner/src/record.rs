//! What is written down of a sandbox before it is made.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use sebring_fault::Point;
use sebring_types::runner::SandboxSpec;
use sebring_types::{SandboxId, SnapshotId};
use serde::{Deserialize, Serialize};

use crate::control::Identity;

const FILE: &str = "record.json";
/// The record before, and the next one while it is written: the two take turns, for a file that is reused is cheaper than a
/// new one.
const NEW: &str = "record.new";
pub(crate) const FILES: [&str; 2] = [FILE, NEW];
/// Of this file's format.
const VERSION: u32 = 1;

/// One sandbox on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    version: u32,
    pub spec: SandboxSpec,
    /// The snapshot that it stands on: a newer one of the same name must not replace it.
    pub snapshot_id: SnapshotId,
    /// Where its disk was attached last.
    pub loop_device: Option<u32>,
    pub phase: Phase,
}

/// How far it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Phase {
    /// Being made for the first time: nothing of it is worth keeping.
    Creating { slot: u16 },
    /// Its files are complete and a start is under way.
    Starting { slot: u16 },
    /// This process is its agent.
    Running {
        slot: u16,
        pid: i32,
        start_time: u64,
        /// None: an older server started it, and its control directory is on disk.
        #[serde(default)]
        control: Option<Identity>,
    },
    /// Only its files are there.
    Stopped,
    /// It is being removed.
    Destroying,
}

impl Record {
    pub fn new(spec: SandboxSpec, snapshot_id: SnapshotId, slot: u16) -> Self {
        Self { version: VERSION, spec, snapshot_id, loop_device: None, phase: Phase::Creating { slot } }
    }

    /// Replaces the record of that sandbox's directory. A reader sees the old or the new one, never a part.
    ///
    /// This outlives the server, whose end takes nothing from the kernel's cache. A power cut may take the last seconds,
    /// as it does from the database: waiting for the disk here would cost each create some milliseconds.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let new = dir.join(NEW);
        let text = serde_json::to_vec(self)?;
        // Cut after it was written, not before: that would give its block back and take another.
        let mut file = File::options().write(true).create(true).truncate(false).open(&new)?;
        file.write_all(&text)?;
        file.set_len(text.len() as u64)?;
        sebring_fault::point(Point::RecordWritten);
        match renameat_with(CWD, &new, CWD, path(dir), RenameFlags::EXCHANGE) {
            // There is none yet, or the file system knows no exchange.
            Err(Errno::NOENT | Errno::INVAL) => std::fs::rename(new, path(dir)),
            other => Ok(other?),
        }
    }

    /// The record of a sandbox's directory. `None` when there is none yet: the server died before it was written, or it is
    /// empty in a directory that another had before.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        let text = match std::fs::read(path(dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(text) if text.is_empty() => return Ok(None),
            other => other?,
        };
        let record: Self = serde_json::from_slice(&text)?;
        if record.version != VERSION {
            return Err(io::Error::other(format!("record of version {}, expected {VERSION}", record.version)));
        }
        Ok(Some(record))
    }
}

/// The sandboxes that have a directory.
pub(crate) fn list(sandboxes: &Path) -> io::Result<Vec<SandboxId>> {
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(sandboxes)? {
        if let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            ids.push(id);
        }
    }
    Ok(ids)
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}
