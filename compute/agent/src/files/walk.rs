//! Goes through a directory and all below it, in the order of names, without ever following a symbolic link and
//! without entering the kernel's own file systems, whose files have no end or wait for events.
//!
//! Directories that cannot be read are passed over, as their contents do not concern the sandbox user.

use std::fs::{self, FileType};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{self, statfs};

/// An entry below the root.
#[derive(Debug)]
pub struct Entry {
    pub path: PathBuf,
    pub kind: FileType,
    /// 1 for the root's own entries.
    pub depth: usize,
}

#[derive(Debug)]
pub struct Walk {
    /// To be visited, the next one last.
    pending: Vec<Entry>,
    /// Directories at this depth are not entered.
    deepest: usize,
    /// The device of the root: another one may be a kernel's file system.
    device: u64,
}

impl Walk {
    /// Fails when the root is no directory that can be read.
    pub fn new(root: &Path, deepest: usize) -> io::Result<Self> {
        let mut walk = Self { pending: Vec::new(), deepest, device: fs::metadata(root)?.dev() };
        walk.enter(root, 1)?;
        Ok(walk)
    }

    fn enter(&mut self, directory: &Path, depth: usize) -> io::Result<()> {
        let before = self.pending.len();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            // From the directory itself, without a further call, on all common file systems.
            if let Ok(kind) = entry.file_type() {
                self.pending.push(Entry { path: entry.path(), kind, depth });
            }
        }
        self.pending[before..].sort_unstable_by(|one, other| other.path.cmp(&one.path));
        Ok(())
    }

    fn may_enter(&self, directory: &Path) -> bool {
        match fs::symlink_metadata(directory) {
            Ok(metadata) => metadata.dev() == self.device || !is_kernels(directory),
            Err(_) => false,
        }
    }
}

impl Iterator for Walk {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let entry = self.pending.pop()?;
        if entry.kind.is_dir() && entry.depth < self.deepest && self.may_enter(&entry.path) {
            // Unreadable, or gone since it was listed.
            let _ = self.enter(&entry.path, entry.depth + 1);
        }
        Some(entry)
    }
}

/// A file system without files: its contents have no end, or wait for events.
pub fn is_kernels(directory: &Path) -> bool {
    let kinds = [
        statfs::PROC_SUPER_MAGIC,
        statfs::SYSFS_MAGIC,
        statfs::CGROUP_SUPER_MAGIC,
        statfs::CGROUP2_SUPER_MAGIC,
        statfs::DEBUGFS_MAGIC,
        statfs::TRACEFS_MAGIC,
        statfs::DEVPTS_SUPER_MAGIC,
    ];
    statfs(directory).is_ok_and(|found| kinds.contains(&found.filesystem_type()))
}
