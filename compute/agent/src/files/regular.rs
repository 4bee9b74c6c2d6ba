//! A regular file, found without opening what only looks like one: a pipe would wait for its other end, a device may act.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, setfsuid};

use crate::http::error::{Failure, Kind};

/// The most, in bytes, that is read to find out whether a file is as long as it says.
const FIRST: u64 = 256 << 10;

#[derive(Debug)]
pub struct Regular {
    /// Opened for its path alone, which keeps nobody from anything.
    file: File,
    pub metadata: Metadata,
}

/// What a lease gives, as in `fcntl(2)`.
#[derive(Debug, Clone, Copy)]
pub enum Lease {
    /// Nobody has the file open for writing.
    Read = libc::F_RDLCK as isize,
    /// Nobody else has it open at all.
    Write = libc::F_WRLCK as isize,
}

/// What a file has, whatever length it states: those of `/proc` state none, those of `/sys` too much.
#[derive(Debug)]
pub enum Content {
    /// All of it.
    Short(Vec<u8>),
    /// Too much to be looked at, and how long it is, if it can be relied on.
    Long(File, Option<u64>),
}

impl Regular {
    /// What `path` leads to, which may be through links.
    pub fn find(path: &Path) -> Result<Self, Failure> {
        let failure = |error| Failure::file(path, &error);
        let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).map_err(failure)?;
        let metadata = file.metadata().map_err(failure)?;
        if metadata.is_dir() {
            return Err(failure(io::ErrorKind::IsADirectory.into()));
        }
        if !metadata.is_file() {
            return Err(Failure::new(Kind::InvalidFilePath, format!("is no regular file: {}", path.display())));
        }
        Ok(Self { file, metadata })
    }

    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Its present path, without links.
    pub fn path(&self) -> io::Result<PathBuf> {
        fs::read_link(link(self.descriptor()))
    }

    /// Opens this very file, whatever its name means by now. Waits while another has a lease that forbids it.
    pub fn open(&self, options: &OpenOptions) -> io::Result<File> {
        options.open(link(self.descriptor()))
    }

    pub fn reader(&self) -> io::Result<File> {
        self.open(OpenOptions::new().read(true))
    }

    /// Reads the beginning.
    pub fn content(&self) -> io::Result<Content> {
        let file = self.reader()?;
        let stated = self.metadata.len();
        let mut first = Vec::with_capacity(stated.saturating_add(1).min(FIRST) as usize);
        (&file).take(FIRST).read_to_end(&mut first)?;
        if (first.len() as u64) < FIRST {
            return Ok(Content::Short(first));
        }
        let reliable = stated > 0 && lease(&file, Lease::Read);
        Ok(Content::Long(self.reader()?, reliable.then_some(stated)))
    }
}

/// Takes a lease of an open file, which ends when that is closed; answers whether it could be had. The holder is told of
/// nobody who waits (`F_SETOWN`): it keeps leases for a moment only.
pub fn lease(file: &File, kind: Lease) -> bool {
    let Ok(owner) = file.metadata().map(|metadata| metadata.uid()) else { return false };
    // Only a file's owner may lease it. This changes the present thread alone.
    let own = setfsuid(Uid::from_raw(owner));
    // SAFETY: both calls take integers and the descriptor of an open file.
    let taken = unsafe {
        libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind as libc::c_int) == 0
            && libc::fcntl(file.as_raw_fd(), libc::F_SETOWN, 0) == 0
    };
    setfsuid(own);
    taken
}

pub fn link(descriptor: RawFd) -> PathBuf {
    format!("/proc/self/fd/{descriptor}").into()
}
