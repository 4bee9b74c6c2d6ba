//! The directories of sandboxes, which are used one after the other.
//!
//! A sandbox's files are few, small and always the same. To find new inodes for them and to give back the old ones is most
//! of what they cost: a tenth of all that a create and a delete take where the file system keeps no journal (measured).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sebring_fault::{Point, point};
use sebring_runtime::tree;
use sebring_types::SandboxId;

use crate::config::Layout;
use crate::record;

/// Directories that are kept; beyond that they are removed.
const KEPT: usize = 64;

/// Hands out directories.
#[derive(Debug)]
pub(crate) struct Places {
    layout: Layout,
    blanks: Mutex<Vec<PathBuf>>,
}

impl Places {
    /// Finds those that an earlier server kept, and empties what it did not come to. One that can't be emptied is left to
    /// the next start: whatever a sandbox had in it keeps no server from starting.
    pub fn open(layout: &Layout) -> io::Result<Self> {
        let dir = layout.blanks();
        fs::create_dir_all(&dir)?;
        let mut blanks: Vec<PathBuf> = fs::read_dir(&dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        blanks.retain(|path| match blank(path) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "what a deleted sandbox left stays until the next start");
                false
            }
        });
        Ok(Self { layout: layout.clone(), blanks: Mutex::new(blanks) })
    }

    /// Makes the directory of a new sandbox.
    pub fn make(&self, id: SandboxId) -> io::Result<()> {
        let dir = self.layout.sandbox(id);
        let blank = self.lock().pop();
        if let Some(blank) = blank
            && fs::rename(blank, &dir).is_ok()
        {
            return Ok(());
        }
        fs::create_dir_all(dir)
    }

    /// Removes what a sandbox left; it may be gone already.
    pub fn clear(&self, id: SandboxId) -> io::Result<()> {
        let dir = self.layout.sandbox(id);
        if self.lock().len() < KEPT {
            let kept = self.layout.blanks().join(id.to_string());
            match fs::rename(&dir, &kept) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                other => other?,
            }
            point(Point::DestroyMoved);
            // Only now: whoever writes to it by its name finds it no longer.
            blank(&kept)?;
            self.lock().push(kept);
            return Ok(());
        }
        tree::remove(&dir)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.blanks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves nothing of a sandbox in its directory: the records are emptied, for they hold its variables.
fn blank(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        match entry.file_name().to_str() {
            Some(name) if record::FILES.contains(&name) => fs::File::options().write(true).open(path)?.set_len(0)?,
            // Limits: text of ours, the same for most.
            Some("cgroup") => {}
            _ => tree::remove(&path)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_used_again_without_what_was_in_it() {
        let scratch = tempfile::tempdir().expect("a directory");
        let layout = Layout { data_dir: scratch.path().to_owned(), snapshot_dir: scratch.path().to_owned() };
        fs::create_dir(layout.sandboxes()).expect("a directory");
        let places = Places::open(&layout).expect("no blanks yet");
        let (first, second) = (SandboxId::generate(), SandboxId::generate());
        places.make(first).expect("a new directory");
        let dir = layout.sandbox(first);
        for name in ["cgroup", "else"] {
            fs::create_dir(dir.join(name)).expect("a directory");
        }
        for name in ["record.json", "record.new", "cgroup/cpu.max", "network-log.jsonl", "else/file"] {
            fs::write(dir.join(name), "secret").expect("a file");
        }
        places.clear(first).expect("cleared");
        places.clear(first).expect("gone already");
        assert!(!dir.exists());
        // A crash came before it was emptied, or after.
        for name in ["record.json", "network-log.jsonl"] {
            fs::write(layout.blanks().join(first.to_string()).join(name), "secret").expect("a file");
        }
        let places = Places::open(&layout).expect("one blank");
        places.make(second).expect("the same directory");
        let dir = layout.sandbox(second);
        let below = |dir: &Path| {
            let names = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").file_name());
            let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(below(&dir), ["cgroup", "record.json", "record.new"]);
        assert_eq!(below(&dir.join("cgroup")), ["cpu.max"]);
        assert_eq!(fs::read(dir.join("record.json")).expect("read"), b"");
    }

    #[test]
    fn what_can_not_be_emptied_is_set_aside() {
        let scratch = tempfile::tempdir().expect("a directory");
        let layout = Layout { data_dir: scratch.path().to_owned(), snapshot_dir: scratch.path().to_owned() };
        fs::create_dir(layout.sandboxes()).expect("a directory");
        let (fit, unfit) = (SandboxId::generate(), SandboxId::generate());
        for id in [fit, unfit] {
            fs::create_dir_all(layout.blanks().join(id.to_string())).expect("a directory");
        }
        // A directory where a file is to be emptied.
        fs::create_dir(layout.blanks().join(unfit.to_string()).join("record.json")).expect("a directory");
        let places = Places::open(&layout).expect("opened all the same");
        for _ in 0..2 {
            places.make(SandboxId::generate()).expect("a directory");
        }
        assert!(layout.blanks().join(unfit.to_string()).exists());
        assert!(!layout.blanks().join(fit.to_string()).exists());
    }
}
