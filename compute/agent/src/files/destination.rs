//! Where an upload goes.
//!
//! An existing file is emptied and written in place, so its inode, mode and links stay, and writing goes through
//! symbolic links, also dangling ones. Missing parents are made. A file that the upload itself made is removed again
//! when it fails; one that was there before keeps what arrived.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::folder::make_parents;
use crate::http::error::{Failure, Kind};

/// Bytes that are sent to the disk together.
const BATCH: u64 = 8 << 20;

#[derive(Debug)]
pub struct Destination {
    path: PathBuf,
    file: File,
    written: u64,
    /// Of these, on their way to the disk.
    sent_off: u64,
    /// Set while a failure would leave a half-written new file behind.
    made: bool,
}

impl Destination {
    pub fn open(path: &Path) -> Result<Self, Failure> {
        if path.to_str().is_some_and(|text| text.ends_with('/')) {
            return Err(Failure::file(path, &io::ErrorKind::IsADirectory.into()));
        }
        let (file, made) = match Self::open_or_make(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_parents(path.parent().unwrap_or(Path::new("/")))?;
                Self::open_or_make(path)
            }
            result => result,
        }
        .map_err(|error| Failure::file(path, &error))?;
        let kind = file.metadata().map_err(|error| Failure::file(path, &error))?.file_type();
        if kind.is_fifo() || kind.is_socket() {
            return Err(Failure::new(Kind::InvalidFilePath, format!("is no regular file: {}", path.display())));
        }
        Ok(Self { path: path.to_owned(), file, written: 0, sent_off: 0, made })
    }

    fn open_or_make(path: &Path) -> io::Result<(File, bool)> {
        let mut options = OpenOptions::new();
        // Pipes without a reader fail at once instead of waiting for one.
        options.write(true).mode(0o644).custom_flags(libc::O_NONBLOCK);
        match options.clone().create_new(true).open(path) {
            Ok(file) => Ok((file, true)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                options.create(true).truncate(true).open(path).map(|file| (file, false))
            }
            Err(error) => Err(error),
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| Failure::file(&self.path, &error))?;
        self.written += bytes.len() as u64;
        if self.written - self.sent_off >= BATCH {
            self.send_off();
        }
        Ok(())
    }

    /// Begins to write to the disk what has come since the last time, so that who reads the file next need not wait behind
    /// it. Overlayfs passes no `sync_file_range(2)` on; this advice does the same, and drops nothing that is not written.
    fn send_off(&mut self) {
        let (from, length) = (self.sent_off as libc::off_t, (self.written - self.sent_off) as libc::off_t);
        // Devices and the like take no advice.
        let _ = posix_fadvise(&self.file, from, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        self.sent_off = self.written;
    }

    /// The upload is complete. The bytes written.
    pub fn finish(mut self) -> u64 {
        self.made = false;
        self.written
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if self.made {
            // The failure that led here is what the caller hears of.
            let _ = fs::remove_file(&self.path);
        }
    }
}
