//! Files of the root file system that the agent reads and writes by itself. What is there may be anything that an image or
//! an earlier run of the sandbox made: pipes, links, devices, gigabytes.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Opening must neither wait for the other end of a pipe nor take over a terminal.
const CAREFUL: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;

/// The first `limit` bytes of a regular file; what is something else is as good as absent. Links are followed.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_as(path, CAREFUL, limit).map(|(_, content)| content)
}

fn read_as(path: &Path, flags: i32, limit: u64) -> io::Result<(fs::Metadata, Vec<u8>)> {
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut content = Vec::with_capacity(metadata.len().min(limit) as usize);
    file.take(limit).read_to_end(&mut content)?;
    Ok((metadata, content))
}

/// Makes a regular file of this content. One that has another is written in place, for it may be mounted; one that has other
/// names as well, a link, or whatever else it is, is replaced. A directory with something in it stays.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let flags = CAREFUL | libc::O_NOFOLLOW;
    match read_as(path, flags, text.len() as u64 + 1) {
        Ok((_, present)) if present == text.as_bytes() => return Ok(()),
        Ok((metadata, _)) if metadata.nlink() == 1 => {
            return File::options()
                .write(true)
                .truncate(true)
                .custom_flags(flags)
                .open(path)?
                .write_all(text.as_bytes());
        }
        _ => {}
    }
    let removed = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(metadata) if metadata.is_dir() => match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(()),
            other => other,
        },
        _ => fs::remove_file(path),
    };
    removed.and_then(|()| File::create_new(path)).and_then(|mut file| file.write_all(text.as_bytes()))
}

/// Makes a directory of the root file system of it, if it is none: a link may lead to one, but not to other file systems,
/// where the names of this one mean something else.
pub fn make_directory(path: &Path) -> io::Result<()> {
    let device = |path: &Path| fs::metadata(path).ok().filter(fs::Metadata::is_dir).map(|metadata| metadata.dev());
    if let Some(found) = device(path)
        && path.parent().and_then(device) == Some(found)
    {
        return Ok(());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;

    use super::*;

    fn is_plain(path: &Path, text: &str) -> bool {
        let metadata = fs::symlink_metadata(path).expect("metadata");
        metadata.is_file() && fs::read_to_string(path).is_ok_and(|present| present == text)
    }

    #[test]
    fn reads_no_more_than_asked_for_and_waits_for_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        nix::unistd::mkfifo(&at("pipe"), Mode::S_IRWXU).expect("a pipe");
        fs::write(at("file"), "0123456789").expect("a file");
        symlink("file", at("link")).expect("a link");
        symlink("pipe", at("link-to-pipe")).expect("a link");
        symlink("loop", at("loop")).expect("a link");
        File::create(at("huge")).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
        assert_eq!(read(&at("link"), 4).expect("the beginning"), b"0123");
        assert_eq!(read(&at("huge"), 1 << 20).expect("the beginning").len(), 1 << 20);
        for name in ["pipe", "link-to-pipe", "loop", ".", "absent"] {
            assert!(read(&at(name), 4).is_err(), "{name}");
        }
        assert!(read(Path::new("/dev/zero"), 4).is_err());
    }

    #[test]
    fn writes_what_has_that_name_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        for name in ["target", "original", "plain", "same"] {
            fs::write(at(name), "before").expect("a file");
        }
        nix::unistd::mkfifo(&at("pipe"), Mode::S_IRWXU).expect("a pipe");
        symlink("target", at("link")).expect("a link");
        symlink("loop", at("loop")).expect("a link");
        fs::hard_link(at("original"), at("second-name")).expect("a link");
        fs::create_dir(at("empty")).expect("a directory");
        let inode = fs::metadata(at("plain")).expect("metadata").ino();
        for name in ["pipe", "link", "loop", "second-name", "empty", "plain", "new"] {
            write(&at(name), "after").expect(name);
            assert!(is_plain(&at(name), "after"), "{name}");
        }
        assert_eq!(fs::metadata(at("plain")).expect("metadata").ino(), inode, "written in place");
        for name in ["target", "original"] {
            assert!(is_plain(&at(name), "before"), "{name}");
        }
        write(dir.path(), "after").expect("left alone");
        assert!(at("target").exists());
    }

    #[test]
    fn a_directory_is_one_of_this_file_system() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("real")).expect("a directory");
        symlink("real", at("link")).expect("a link");
        symlink("loop", at("loop")).expect("a link");
        symlink("/proc/self", at("abroad")).expect("a link");
        nix::unistd::mkfifo(&at("pipe"), Mode::S_IRWXU).expect("a pipe");
        for name in ["real", "link", "loop", "abroad", "pipe", "new"] {
            make_directory(&at(name)).expect(name);
            let kept = fs::symlink_metadata(at(name)).expect("metadata").is_symlink();
            assert_eq!((at(name).is_dir(), kept), (true, name == "link"), "{name}");
        }
    }
}
