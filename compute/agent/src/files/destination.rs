//! Where an upload goes.
//!
//! What arrives is written to a file without a name until it is whole, so nobody sees half of it, and nothing is left of
//! an upload that breaks off. Then a new file gets its name, and one that was there gets the content in place of its own
//! ([`overwrite`](super::overwrite)), also behind symbolic links.
//!
//! Written as it arrives is only what can't be held back: what finds no room beside the file that it replaces; what goes to
//! a device or through a dangling link; and what goes to a file system or directory that has no files without names.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags, PosixFadviseAdvice, posix_fadvise};
use nix::unistd::linkat;

use super::folder::make_parents;
use super::overwrite::{Present, hand_over};
use crate::http::error::Failure;

/// Of a new file.
const MODE: u32 = 0o644;
/// Bytes that are sent to the disk together.
const BATCH: u64 = 8 << 20;
/// Bytes of the end of a file that stay in memory for whoever reads it next. All of a large one would not fit, and the
/// part that did would have to make room for each page that is read.
const CACHED: u64 = 64 << 20;

#[derive(Debug)]
pub struct Destination {
    path: PathBuf,
    /// What the content is written to.
    file: File,
    written: u64,
    /// Of these, on their way to the disk.
    sent_off: u64,
    end: End,
}

/// What becomes of the content when it is whole.
#[derive(Debug)]
enum End {
    /// It gets the path as its name.
    Name,
    /// It replaces that of this file.
    Replace(Box<Present>),
    /// It is in the file already. One that this upload made is removed again when the content does not become whole.
    InPlace { made: bool },
}

impl Destination {
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let failure = |error: io::Error| Failure::file(path, &error);
        if path.to_str().is_some_and(|text| text.ends_with('/')) {
            return Err(failure(io::ErrorKind::IsADirectory.into()));
        }
        // Pipes without a reader fail at once instead of waiting for one.
        let (file, end) = match fs::metadata(path).map(|metadata| metadata.file_type()) {
            Ok(kind) if kind.is_char_device() || kind.is_block_device() => {
                (OpenOptions::new().write(true).open(path).map_err(failure)?, End::InPlace { made: false })
            }
            Ok(_) => Self::over(path)?,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failure(error)),
            Err(_) if path.is_symlink() => make(path).map_err(failure)?,
            Err(_) => Self::anew(path)?,
        };
        Ok(Self { path: path.to_owned(), file, written: 0, sent_off: 0, end })
    }

    fn over(path: &Path) -> Result<(File, End), Failure> {
        let present = Present::find(path)?;
        if let Ok(file) = unnamed(present.directory()) {
            return Ok((file, End::Replace(Box::new(present))));
        }
        let emptied = present.emptied().map_err(|error| Failure::file(path, &error))?;
        Ok((emptied, End::InPlace { made: false }))
    }

    fn anew(path: &Path) -> Result<(File, End), Failure> {
        let unnamed = match unnamed(parent(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_parents(parent(path))?;
                unnamed(parent(path))
            }
            other => other,
        };
        match unnamed {
            Ok(file) => Ok((file, End::Name)),
            Err(_) => make(path).map_err(|error| Failure::file(path, &error)),
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.take_in(bytes).map_err(|error| Failure::file(&self.path, &error))?;
        if self.written - self.sent_off >= BATCH {
            self.send_off();
        }
        Ok(())
    }

    fn take_in(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.file.write_all(bytes) {
            Err(error) if self.can_make_room(&error) => {
                self.begin_to_replace()?;
                self.file.write_all(bytes)?;
            }
            result => result?,
        }
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Whether the file to be replaced holds what is missing.
    fn can_make_room(&self, error: &io::Error) -> bool {
        let End::Replace(present) = &self.end else { return false };
        error.kind() == io::ErrorKind::StorageFull && present.len() >= self.written
    }

    /// Gives up to hold the content back from a file that it replaces.
    fn begin_to_replace(&mut self) -> io::Result<()> {
        match mem::replace(&mut self.end, End::InPlace { made: false }) {
            End::Replace(present) => {
                let mut present = present.emptied()?;
                hand_over(&mut self.file, self.written, &mut present)?;
                self.file = present;
            }
            end => self.end = end,
        }
        Ok(())
    }

    /// Begins to write to the disk what has come since the last time, so that who reads the file next need not wait behind
    /// it, and drops from memory what has arrived there. Overlayfs passes no `sync_file_range(2)` on; this advice does the
    /// same, and drops nothing that is not written.
    fn send_off(&mut self) {
        let from = if self.written > CACHED { self.sent_off.saturating_sub(CACHED) } else { self.sent_off };
        let length = self.written - from;
        // Devices and the like take no advice.
        let advice = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        let _ = posix_fadvise(&self.file, from as libc::off_t, length as libc::off_t, advice);
        self.sent_off = self.written;
    }

    /// The upload is complete. The bytes written.
    pub fn finish(mut self) -> Result<u64, Failure> {
        self.settle().map_err(|error| Failure::file(&self.path, &error))?;
        self.end = End::InPlace { made: false };
        Ok(self.written)
    }

    fn settle(&mut self) -> io::Result<()> {
        match mem::replace(&mut self.end, End::InPlace { made: false }) {
            End::InPlace { .. } => Ok(()),
            End::Replace(present) => present.take(&mut self.file, self.written),
            End::Name if name(&self.file, &self.path).is_ok() => Ok(()),
            // Something has got that name meanwhile, or this file system names no file later.
            End::Name => {
                let (mut present, end) = make(&self.path)?;
                self.end = end;
                hand_over(&mut self.file, self.written, &mut present)
            }
        }
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if let End::InPlace { made: true } = self.end {
            // The failure that led here is what the caller hears of.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// A file without a name, on the file system of that directory.
pub fn unnamed(directory: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).mode(MODE).custom_flags(libc::O_TMPFILE).open(directory)
}

fn name(unnamed: &File, path: &Path) -> nix::Result<()> {
    let own = format!("/proc/self/fd/{}", unnamed.as_raw_fd());
    linkat(AT_FDCWD, own.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)
}

/// A file under that name, new or emptied.
fn make(path: &Path) -> io::Result<(File, End)> {
    let mut options = OpenOptions::new();
    options.write(true).mode(MODE).custom_flags(libc::O_NONBLOCK);
    match options.clone().create_new(true).open(path) {
        Ok(file) => Ok((file, End::InPlace { made: true })),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = options.create(true).truncate(true).open(path)?;
            Ok((file, End::InPlace { made: false }))
        }
        Err(error) => Err(error),
    }
}
