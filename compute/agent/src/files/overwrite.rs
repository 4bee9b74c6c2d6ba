//! How a file that is there gets other content, so that whoever opens it finds all of the old or all of the new.
//!
//! | who has it open | what is done | what stays |
//! |---|---|---|
//! | nobody | the content is copied into it, under a lease (`fcntl(2)`): who opens it meanwhile waits until that is done | inode, mode, owner, attributes, links |
//! | readers | a new file takes its name; they go on reading the old one | mode, owner, attributes |
//! | a writer | the content is copied into it: what the writer writes next must not be lost | all of it, but half of the content can be seen |
//!
//! Content that takes long to copy ([`COPIED`]) takes the name where readers would. A file with several names, one that is
//! a mount point, and one whose owner or attributes can't be given to a new file are copied into in any case.

use std::ffi::{CString, OsStr};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags, FallocateFlags, fallocate};
use nix::unistd::linkat;

use super::regular::{Lease, Regular, lease, link};
use crate::http::error::Failure;

/// The longest content, in bytes, that openers wait for: copying it takes some ten milliseconds.
pub const COPIED: u64 = 64 << 20;
/// Bytes that are moved at a time.
const PART: u64 = 256 << 10;
/// Begins the names that new files have for the moment before they take that of an old one.
const PASSING: &str = ".sebring-new-";

/// A file that is to get other content.
#[derive(Debug)]
pub struct Present {
    file: Regular,
    /// Without links.
    path: PathBuf,
}

impl Present {
    /// What `path` leads to, which may be through links.
    ///
    /// # Errors
    /// It is no regular file, or the user may not write to it.
    pub fn find(path: &Path) -> Result<Self, Failure> {
        let file = Regular::find(path)?;
        let writable = || {
            match file.open(OpenOptions::new().write(true)) {
                // A program that runs can be replaced by name.
                Err(error) if error.kind() != io::ErrorKind::ExecutableFileBusy => Err(error),
                _ => file.path(),
            }
        };
        let path = writable().map_err(|error| Failure::file(path, &error))?;
        Ok(Self { file, path })
    }

    /// Where a file that is to take its name has to lie.
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Bytes, when it was found.
    pub fn len(&self) -> u64 {
        self.file.metadata.len()
    }

    /// What is in it.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.file.reader()?.read_to_end(&mut content)?;
        Ok(content)
    }

    /// The file, emptied, to be written as the content comes.
    pub fn emptied(&self) -> io::Result<File> {
        self.file.open(OpenOptions::new().write(true).truncate(true))
    }

    /// Gives it the first `length` bytes of `content`, a file without a name in its directory, which is used up.
    pub fn take(&self, content: &mut File, length: u64) -> io::Result<()> {
        if length <= COPIED && self.take_unseen(content, length)? {
            return Ok(());
        }
        if !self.is_being_written()? && self.take_name(content).is_ok() {
            return Ok(());
        }
        hand_over(content, length, &mut self.file.open(OpenOptions::new().write(true))?)
    }

    /// Writes `text` over what is in it: who reads meanwhile may see some of both.
    pub fn put(&self, text: &[u8]) -> io::Result<()> {
        let mut file = self.file.open(OpenOptions::new().write(true))?;
        file.write_all(text)?;
        file.set_len(text.len() as u64)
    }

    /// Copies while nobody has it open; answers whether that is so.
    fn take_unseen(&self, content: &mut File, length: u64) -> io::Result<bool> {
        let mut file = match self.file.open(OpenOptions::new().write(true)) {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => return Ok(false),
            other => other?,
        };
        let alone = lease(&file, Lease::Write);
        if alone {
            hand_over(content, length, &mut file)?;
        }
        Ok(alone)
    }

    fn is_being_written(&self) -> io::Result<bool> {
        Ok(!lease(&self.file.reader()?, Lease::Read))
    }

    /// Lets a file without a name replace this one in its directory.
    fn take_name(&self, content: &File) -> io::Result<()> {
        let old = &self.file.metadata;
        let named = fs::symlink_metadata(&self.path)?;
        if named.nlink() != 1 || (named.dev(), named.ino()) != (old.dev(), old.ino()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        fchown(content, Some(named.uid()), Some(named.gid()))?;
        // After the owner: a change of that takes setuid bits away.
        content.set_permissions(fs::Permissions::from_mode(named.mode() & 0o7777))?;
        copy_attributes(self.file.descriptor(), content.as_raw_fd())?;
        let passing = self.directory().join(format!("{PASSING}{}", content.metadata()?.ino()));
        linkat(AT_FDCWD, &link(content.as_raw_fd()), AT_FDCWD, &passing, AtFlags::AT_SYMLINK_FOLLOW)?;
        fs::rename(&passing, &self.path).inspect_err(|_| {
            // That it could not be renamed is what counts.
            let _ = fs::remove_file(&passing);
        })
    }
}

/// Whether a name is that of a file which is about to take another's.
pub fn is_passing(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PASSING.as_bytes())
}

/// Moves the first `length` bytes of a file into another, as all that is in it. Each part is given up before it is written
/// again, so the two never need more room than the content: a disk that took it in has room for it, and what was in the
/// other is not lost for nothing.
pub fn hand_over(from: &mut File, length: u64, into: &mut File) -> io::Result<()> {
    into.set_len(0)?;
    from.rewind()?;
    let mut buffer = vec![0; PART.min(length) as usize];
    for at in (0..length).step_by(PART as usize) {
        let part = &mut buffer[..PART.min(length - at) as usize];
        from.read_exact(part)?;
        let given_up = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        // Where a file can't have holes, room for both parts is needed.
        let _ = fallocate(&*from, given_up, at as libc::off_t, part.len() as libc::off_t);
        into.write_all(part)?;
    }
    Ok(())
}

/// Copies the extended attributes, access lists among them; one that can't be copied is an error.
fn copy_attributes(from: RawFd, to: RawFd) -> io::Result<()> {
    let (from, to) = (c_path(from), c_path(to));
    let names = read_whole(|buffer, length| {
        // SAFETY: the path is a C string, the buffer has the length given.
        unsafe { libc::listxattr(from.as_ptr(), buffer.cast(), length) }
    })?;
    for name in names.split_inclusive(|byte| *byte == 0) {
        let value = read_whole(|buffer, length| {
            // SAFETY: as above; the name ends with its zero.
            unsafe { libc::getxattr(from.as_ptr(), name.as_ptr().cast(), buffer, length) }
        })?;
        // SAFETY: as above.
        let copied =
            unsafe { libc::setxattr(to.as_ptr(), name.as_ptr().cast(), value.as_ptr().cast(), value.len(), 0) };
        if copied < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Calls on a descriptor without a path of its own (`O_PATH`) need one.
fn c_path(descriptor: RawFd) -> CString {
    // A number has no zero byte.
    CString::new(link(descriptor).into_os_string().into_encoded_bytes()).unwrap_or_default()
}

/// What a call writes that first tells how long it is. File systems without attributes have none.
fn read_whole(call: impl Fn(*mut libc::c_void, usize) -> isize) -> io::Result<Vec<u8>> {
    let told = |length: isize| {
        usize::try_from(length).or_else(|_| match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(0),
            error => Err(error),
        })
    };
    let mut buffer = vec![0; told(call(std::ptr::null_mut(), 0))?];
    let length = told(call(buffer.as_mut_ptr().cast(), buffer.len()))?;
    buffer.truncate(length);
    Ok(buffer)
}
