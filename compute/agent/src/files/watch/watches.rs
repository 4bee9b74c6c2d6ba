//! The kernel's watches of a tree, one for each of its directories, and what they tell. See inotify(7).

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use super::{Change, Type, What};
use crate::files::overwrite;
use crate::files::walk::is_kernels;

/// Directories of one stream. Each takes about 1 KiB of the sandbox's memory, most of it in the kernel.
const DIRECTORIES: usize = 32_768;
/// Between the two halves of a move, which the kernel tells one after the other but not at once, in ms.
const HALVES: u16 = 10;
/// After this long without a change a comment is sent, for proxies that close what is silent, in ms.
const SILENCE: u16 = 30_000;

/// What to tell the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice {
    Change(Change),
    /// Changes were lost.
    Overflow,
    /// Nothing has changed for a while.
    Quiet,
    End,
}

#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error(transparent)]
    File(io::Error),
    #[error("there are more than {DIRECTORIES} directories: watch less of them")]
    Directories,
    /// inotify_add_watch(2) and inotify_init(2) have codes of their own for it.
    #[error("the kernel's limit of inotify watches is reached: watch fewer directories, or raise fs.inotify's limits")]
    Kernel,
}

impl From<nix::Error> for WatchError {
    fn from(error: nix::Error) -> Self {
        match error {
            nix::Error::ENOSPC | nix::Error::EMFILE => Self::Kernel,
            error => Self::File(error.into()),
        }
    }
}

#[derive(Debug)]
pub struct Watches {
    inotify: Inotify,
    /// As the caller named it.
    root: PathBuf,
    /// Of a file, the name in the directory that is watched in its place: files are replaced by others.
    only: Option<OsString>,
    recursive: bool,
    paths: HashMap<WatchDescriptor, PathBuf>,
    /// What was found in new directories: the kernel may tell of it as well.
    found: HashSet<PathBuf>,
    /// The first half of a move.
    left: Option<Left>,
    /// The move by which an upload takes the name of the file that it replaces.
    replacing: Option<u32>,
}

#[derive(Debug)]
struct Left {
    cookie: u32,
    path: PathBuf,
    r#type: Type,
}

fn wanted() -> AddWatchFlags {
    AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR
}

impl Watches {
    /// Every change after this is seen.
    pub fn start(root: &Path, recursive: bool) -> Result<Self, WatchError> {
        // What the root itself links to is watched; links below it are not followed.
        let real = fs::canonicalize(root).map_err(WatchError::File)?;
        let only = if real.is_dir() { None } else { real.file_name().map(OsStr::to_owned) };
        let mut watches = Self {
            inotify: Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?,
            root: root.to_owned(),
            recursive: recursive && only.is_none(),
            only,
            paths: HashMap::new(),
            found: HashSet::new(),
            left: None,
            replacing: None,
        };
        watches.begin()?;
        Ok(watches)
    }

    fn begin(&mut self) -> Result<(), WatchError> {
        let watched = if self.only.is_some() {
            let real = fs::canonicalize(&self.root).map_err(WatchError::File)?;
            real.parent().unwrap_or(Path::new("/")).to_owned()
        } else {
            self.root.clone()
        };
        let descriptor = self.inotify.add_watch(&watched, wanted())?;
        self.paths.insert(descriptor, watched);
        if self.recursive {
            let root = self.root.clone();
            self.enter(root, &mut |_, _| {})?;
        }
        Ok(())
    }

    /// Watches a directory and all below it. Each is watched before it is read: what is made later is told by the
    /// kernel. What cannot be read, or is gone again, is passed over, and so are the kernel's own file systems.
    fn enter(&mut self, directory: PathBuf, tell: &mut dyn FnMut(&Path, Type)) -> Result<(), WatchError> {
        let mut pending = vec![directory];
        while let Some(directory) = pending.pop() {
            let flags = wanted() | AddWatchFlags::IN_DONT_FOLLOW;
            let descriptor = match self.inotify.add_watch(&directory, flags) {
                Ok(descriptor) => descriptor,
                Err(nix::Error::ENOENT | nix::Error::ENOTDIR | nix::Error::EACCES) if directory != self.root => {
                    continue;
                }
                // The root may be a link, and is watched already.
                Err(nix::Error::ENOTDIR) => self.inotify.add_watch(&directory, wanted())?,
                Err(error) => return Err(error.into()),
            };
            if self.paths.len() >= DIRECTORIES {
                return Err(WatchError::Directories);
            }
            self.paths.insert(descriptor, directory.clone());
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let Ok(kind) = entry.file_type() else { continue };
                let path = entry.path();
                tell(&path, if kind.is_dir() { Type::Directory } else { Type::File });
                if kind.is_dir() && !is_kernels(&path) {
                    pending.push(path);
                }
            }
        }
        Ok(())
    }

    /// Waits for changes, or for the other end of `stop` to be closed.
    pub fn next(&mut self, stop: &impl AsFd) -> Result<Vec<Notice>, WatchError> {
        let mut waited =
            [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
        let mut arrived = poll(&mut waited, PollTimeout::ZERO)?;
        if arrived == 0 {
            // All that was on its way has arrived.
            self.found.clear();
            let timeout = if self.left.is_some() { HALVES } else { SILENCE };
            arrived = poll(&mut waited, PollTimeout::from(timeout))?;
        }
        let stopped = waited[1].any().unwrap_or(true);
        if stopped {
            return Ok(vec![Notice::End]);
        }
        if arrived == 0 {
            let mut notices = Vec::new();
            self.settle(&mut notices);
            return Ok(if notices.is_empty() { vec![Notice::Quiet] } else { notices });
        }
        let events = self.inotify.read_events()?;
        let mut notices = Vec::with_capacity(events.len());
        for event in events {
            self.translate(event, &mut notices)?;
        }
        // A file that is written in pieces.
        notices.dedup();
        Ok(notices)
    }

    fn translate(&mut self, event: InotifyEvent, notices: &mut Vec<Notice>) -> Result<(), WatchError> {
        let mask = event.mask;
        if self.left.as_ref().is_some_and(|left| left.cookie != event.cookie) {
            self.settle(notices);
        }
        if mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            notices.push(Notice::Overflow);
            return self.begin_again(notices);
        }
        let Some(base) = self.paths.get(&event.wd) else { return Ok(()) };
        if mask.contains(AddWatchFlags::IN_IGNORED) {
            self.paths.remove(&event.wd);
            return Ok(());
        }
        let Some(name) = event.name else {
            // Of the directory itself: below the root its parent's watch tells.
            let ends = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
            if mask.intersects(ends) && (*base == self.root || self.only.is_some()) {
                let kind = if self.only.is_some() { Type::File } else { Type::Directory };
                notices.extend([change(What::Delete, &self.root, kind, None), Notice::End]);
            }
            return Ok(());
        };
        if overwrite::is_passing(&name) {
            self.replacing = mask.contains(AddWatchFlags::IN_MOVED_FROM).then_some(event.cookie);
            return Ok(());
        }
        if self.only.as_ref().is_some_and(|only| *only != name) {
            return Ok(());
        }
        let path = if self.only.is_some() { self.root.clone() } else { base.join(&name) };
        let kind = if mask.contains(AddWatchFlags::IN_ISDIR) { Type::Directory } else { Type::File };
        if mask.contains(AddWatchFlags::IN_MOVED_FROM) {
            self.found.remove(&path);
            self.left = Some(Left { cookie: event.cookie, path, r#type: kind });
        } else if mask.contains(AddWatchFlags::IN_MOVED_TO) && self.replacing.take() == Some(event.cookie) {
            notices.push(change(What::Modify, &path, kind, None));
        } else if mask.contains(AddWatchFlags::IN_MOVED_TO) {
            match self.left.take() {
                Some(left) => {
                    self.rename(&left.path, &path);
                    notices.push(change(What::Move, &path, kind, Some(&left.path)));
                }
                None => self.appear(path, kind, notices)?,
            }
        } else if mask.contains(AddWatchFlags::IN_CREATE) {
            if !self.found.remove(&path) {
                self.appear(path, kind, notices)?;
            }
        } else if mask.contains(AddWatchFlags::IN_DELETE) {
            self.found.remove(&path);
            notices.push(change(What::Delete, &path, kind, None));
        } else if !is_nameless(&name, &path) {
            notices.push(change(What::Modify, &path, kind, None));
        }
        Ok(())
    }

    /// A move without a second half has left the tree.
    fn settle(&mut self, notices: &mut Vec<Notice>) {
        if let Some(left) = self.left.take() {
            self.forget(&left.path);
            notices.push(change(What::Delete, &left.path, left.r#type, None));
        }
    }

    /// Among the lost changes may have been new directories, and moves.
    fn begin_again(&mut self, notices: &mut Vec<Notice>) -> Result<(), WatchError> {
        self.paths.clear();
        match self.begin() {
            Err(WatchError::File(error)) if error.kind() == io::ErrorKind::NotFound => notices.push(Notice::End),
            result => result?,
        }
        Ok(())
    }

    /// Something is new. What a new directory has already was there before its watch, and is told of here.
    fn appear(&mut self, path: PathBuf, kind: Type, notices: &mut Vec<Notice>) -> Result<(), WatchError> {
        notices.push(change(What::Create, &path, kind, None));
        if kind == Type::File || !self.recursive {
            return Ok(());
        }
        let mut found = Vec::new();
        self.enter(path, &mut |path, kind| {
            notices.push(change(What::Create, path, kind, None));
            found.push(path.to_owned());
        })?;
        self.found.extend(found);
        Ok(())
    }

    /// Watches follow a directory that moves; their names do not.
    fn rename(&mut self, old: &Path, new: &Path) {
        for path in self.paths.values_mut() {
            if let Ok(below) = path.strip_prefix(old) {
                *path = if below.as_os_str().is_empty() { new.to_owned() } else { new.join(below) };
            }
        }
    }

    /// A directory has left the tree with all below it.
    fn forget(&mut self, gone: &Path) {
        let descriptors: Vec<WatchDescriptor> =
            self.paths.iter().filter(|(_, path)| path.starts_with(gone)).map(|(descriptor, _)| *descriptor).collect();
        for descriptor in descriptors {
            self.paths.remove(&descriptor);
            // The kernel may have dropped it already.
            let _ = self.inotify.rm_watch(descriptor);
        }
    }
}

/// Whether it is a file without a name (`O_TMPFILE`), which the kernel calls by the number of its inode.
fn is_nameless(name: &OsStr, path: &Path) -> bool {
    let number = name.as_encoded_bytes().strip_prefix(b"#");
    number.is_some_and(|number| number.iter().all(u8::is_ascii_digit)) && !path.is_symlink() && !path.exists()
}

fn change(what: What, path: &Path, r#type: Type, from: Option<&Path>) -> Notice {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    Notice::Change(Change { what, path: text(path), r#type, from: from.map(text) })
}
