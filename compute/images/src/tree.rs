//! Root file systems as trees of files.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use walkdir::WalkDir;

use crate::error::StoreError;

/// The largest uid and gid that a sandbox's range has.
const MAX_OWNER: u32 = 65_535;

/// What a tree takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// The sum of the files' lengths, each inode once, bytes.
    pub content: u64,
    /// What the disk gives for it, bytes.
    pub allocated: u64,
}

/// Measures a tree without following links or leaving its file system.
///
/// Fails if a file belongs to a uid or gid that no sandbox has.
pub fn measure(root: &Path) -> Result<Usage, StoreError> {
    let mut usage = Usage::default();
    let mut linked = HashSet::new();
    for entry in WalkDir::new(root).same_file_system(true) {
        let entry = entry.map_err(|error| walk_error(root, error))?;
        let metadata = entry.metadata().map_err(|error| walk_error(root, error))?;
        if metadata.uid() > MAX_OWNER || metadata.gid() > MAX_OWNER {
            return Err(StoreError::ForeignOwner { path: entry.into_path(), uid: metadata.uid(), gid: metadata.gid() });
        }
        if metadata.nlink() > 1 && !metadata.is_dir() && !linked.insert(metadata.ino()) {
            continue;
        }
        usage.allocated += metadata.blocks() * 512;
        if metadata.is_file() {
            usage.content += metadata.len();
        }
    }
    Ok(usage)
}

fn walk_error(root: &Path, error: walkdir::Error) -> StoreError {
    let path = error.path().unwrap_or(root).to_owned();
    StoreError::Io { action: "can't measure", path, source: error.into() }
}

/// Removes a tree; one that is not there is fine.
pub fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("can't remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes what a folder holds, and keeps the folder.
pub fn clear(dir: &Path) -> Result<(), StoreError> {
    let failed = || StoreError::io("can't empty", dir);
    for entry in fs::read_dir(dir).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        if entry.file_type().map_err(failed())?.is_dir() {
            remove(&entry.path())?;
        } else {
            fs::remove_file(entry.path()).map_err(failed())?;
        }
    }
    Ok(())
}

/// Writes all that the file system of `path` still holds in memory to the disk.
pub fn sync(path: &Path) -> Result<(), StoreError> {
    let dir = File::open(path).map_err(StoreError::io("can't sync", path))?;
    rustix::fs::syncfs(&dir).map_err(|errno| StoreError::io("can't sync", path)(errno.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_hard_links_once_and_no_link_targets() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("a"), [1u8; 1000]).expect("a file");
        fs::hard_link(dir.path().join("a"), dir.path().join("b")).expect("a hard link");
        std::os::unix::fs::symlink("/usr", dir.path().join("c")).expect("a symbolic link");
        assert_eq!(measure(dir.path()).expect("a size").content, 1000);
    }

    #[test]
    fn clears_a_folder_without_following_links() {
        let kept = tempfile::tempdir().expect("a directory");
        fs::write(kept.path().join("file"), "kept").expect("a file");
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(dir.path().join("x/y")).expect("directories");
        std::os::unix::fs::symlink(kept.path(), dir.path().join("link")).expect("a symbolic link");
        clear(dir.path()).expect("cleared");
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0);
        assert!(kept.path().join("file").exists());
    }
}
