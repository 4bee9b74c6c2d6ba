//! Removes trees that a tenant may have written.
//!
//! Such a tree can be deeper than a stack or a table of descriptors, have links to anywhere and mounts in it. So a directory
//! that is not empty is moved up to the root of the tree before it is looked at: nothing is ever deeper than two levels,
//! four descriptors are open, and the way to a file is one name below a descriptor. Links are removed, never followed.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes a file, a link or a directory with all that is below it; it may be gone already. The path itself must be of the
/// host's making.
///
/// # Errors
/// The first one, after everything else was removed. A file system that is mounted below is left as it is.
pub fn remove(path: &Path) -> io::Result<()> {
    match rustix::fs::unlinkat(CWD, path, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // Linux says the first of a directory, POSIX and some file systems the second.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    empty(path)?;
    Ok(rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)?)
}

/// Removes all that is below a directory. Errors as for [`remove`].
pub fn empty(path: &Path) -> io::Result<()> {
    let root = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?;
    let mut attic = Attic { root: root.as_fd(), next: 0 };
    loop {
        // What was moved here meanwhile is seen now, or in the next turn.
        let turn = attic.empty_root()?;
        match turn.failure {
            None if turn.found == 0 => return Ok(()),
            Some(error) if turn.removed == 0 => return Err(error),
            _ => {}
        }
    }
}

/// The root of a tree that is being removed.
struct Attic<'a> {
    root: BorrowedFd<'a>,
    /// For names of what is moved here.
    next: u64,
}

/// What came of one look at all that is in the root.
#[derive(Default)]
struct Turn {
    found: usize,
    removed: usize,
    failure: Option<io::Error>,
}

impl Attic<'_> {
    fn empty_root(&mut self) -> io::Result<Turn> {
        let mut turn = Turn::default();
        each(self.root, |name| {
            turn.found += 1;
            match self.take_apart(name) {
                Ok(()) => turn.removed += 1,
                Err(error) => turn.failure = turn.failure.take().or(Some(error)),
            }
        })?;
        Ok(turn)
    }

    /// Removes what is called so in the root; of a directory, what is in it comes to lie in the root.
    fn take_apart(&mut self, name: &CString) -> io::Result<()> {
        let Some(dir) = unlink(self.root, name)? else { return Ok(()) };
        let mut failure = None;
        each(dir.as_fd(), |inner| {
            let moved = match unlink(dir.as_fd(), inner) {
                Ok(None) => Ok(()),
                Ok(Some(_)) => self.move_up(dir.as_fd(), inner),
                Err(error) => Err(error),
            };
            failure = failure.take().or(moved.err());
        })?;
        match rustix::fs::unlinkat(self.root, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failure.unwrap_or_else(|| error.into())),
        }
    }

    fn move_up(&mut self, dir: BorrowedFd<'_>, name: &CString) -> io::Result<()> {
        loop {
            let new = format!("moved-{}", self.next);
            self.next += 1;
            match rustix::fs::renameat_with(dir, name, self.root, &new, RenameFlags::NOREPLACE) {
                // The tree has that name, too.
                Err(Errno::EXIST) => {}
                Err(Errno::NOENT) => return Ok(()),
                other => return Ok(other?),
            }
        }
    }
}

/// Removes a file, or a directory that is empty; one that is not is opened.
fn unlink(dir: BorrowedFd<'_>, name: &CString) -> io::Result<Option<OwnedFd>> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(None),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(None),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    Ok(Some(rustix::fs::openat2(dir, name, DIRECTORY, Mode::empty(), resolve)?))
}

/// Calls `act` with each name in a directory, but for the two that every one has.
fn each(dir: BorrowedFd<'_>, mut act: impl FnMut(&CString)) -> io::Result<()> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            act(&name.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsRawFd;

    use super::*;

    /// A chain of directories below `top`, made by descriptor: its path would be too long.
    fn nest(top: &Path, levels: usize) {
        let mut dir = rustix::fs::openat(CWD, top, DIRECTORY, Mode::empty()).expect("a directory");
        for _ in 0..levels {
            rustix::fs::mkdirat(&dir, "d", Mode::RWXU).expect("a directory");
            rustix::fs::symlinkat("/", &dir, "link").expect("a link");
            dir = rustix::fs::openat(&dir, "d", DIRECTORY, Mode::empty()).expect("a directory");
        }
    }

    #[test]
    fn depth_takes_neither_stack_nor_descriptors() {
        let scratch = tempfile::tempdir().expect("a directory");
        let tree = scratch.path().join("tree");
        fs::create_dir(&tree).expect("a directory");
        nest(&tree, 3_000);
        let small = std::thread::Builder::new().stack_size(128 << 10);
        let highest = small.spawn(move || {
            remove(&tree).expect("removed");
            assert!(!tree.exists());
            // The kernel gives the lowest number that is free.
            fs::File::open("/").expect("a descriptor").as_raw_fd()
        });
        assert!(highest.expect("a thread").join().expect("no overflow") < 100);
    }

    #[test]
    fn many_files_and_names_of_all_kinds() {
        let scratch = tempfile::tempdir().expect("a directory");
        let tree = scratch.path().join("tree");
        for dir in ["moved-0/moved-1/moved-0", "a/b/c", "\n/ /.."] {
            fs::create_dir_all(tree.join(dir)).expect("a directory");
        }
        for number in 0..5_000 {
            fs::write(tree.join(format!("a/b/{number}")), []).expect("a file");
        }
        fs::create_dir(tree.join("a/closed")).expect("a directory");
        fs::set_permissions(tree.join("a/closed"), std::os::unix::fs::PermissionsExt::from_mode(0o000))
            .expect("closed");
        remove(&tree).expect("removed");
        assert!(!tree.exists());
        remove(&tree).expect("gone already");
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let scratch = tempfile::tempdir().expect("a directory");
        let (tree, other) = (scratch.path().join("tree"), scratch.path().join("other"));
        fs::create_dir_all(tree.join("below")).expect("a directory");
        fs::create_dir(&other).expect("a directory");
        fs::write(other.join("kept"), []).expect("a file");
        for link in ["link", "below/link"] {
            std::os::unix::fs::symlink(&other, tree.join(link)).expect("a link");
        }
        remove(&tree).expect("removed");
        std::os::unix::fs::symlink(&other, &tree).expect("a link");
        empty(&tree).expect_err("no directory");
        remove(&tree).expect("a link alone");
        assert!(other.join("kept").exists() && !tree.exists());
    }

    /// Needs root.
    #[test]
    fn a_mount_stays_and_the_rest_goes() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let scratch = tempfile::tempdir().expect("a directory");
        let tree = scratch.path().join("tree");
        fs::create_dir_all(tree.join("a/mount")).expect("a directory");
        fs::write(tree.join("a/file"), []).expect("a file");
        let seen = std::thread::spawn(move || {
            crate::mounts::enter_private_namespace().expect("a namespace");
            let mount = crate::mounts::new_filesystem(c"tmpfs", &[(c"size", "64k")], 0).expect("a file system");
            crate::mounts::attach(mount.as_fd(), &tree.join("a/mount")).expect("attached");
            fs::write(tree.join("a/mount/kept"), []).expect("a file");
            remove(&tree).expect_err("a mount is in it");
            let kept = rustix::fs::statat(&mount, "kept", AtFlags::empty()).is_ok();
            rustix::mount::unmount(tree.join("a/mount"), rustix::mount::UnmountFlags::DETACH).map(drop).ok();
            (kept, tree.join("a/file").exists())
        });
        assert_eq!(seen.join().expect("no panic"), (true, false));
    }
}
