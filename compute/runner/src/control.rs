//! The way to an agent, through a directory that its sandbox could write to (`sebring_runtime::control`).
//!
//! The runner holds it by a descriptor, so no path leads there. Whatever lies in it is hostile: it must be a socket and no
//! link, and whoever listens must have user ids of that sandbox. Otherwise a sandbox could make the server talk to
//! another service of the host.
//!
//! After the end of a server the next one finds the directory through the agent, which keeps it open
//! ([`CONTROL_FD`]): root inside can mount something over its path, but not reach into the agent. What is found must be
//! the directory that was written down.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, StatxFlags, Uid};
use sebring_runtime::namespaces::{IdRange, RANGE_LENGTH};
use sebring_runtime::process::Process;
use sebring_types::agent::{CONTROL_FD, SOCKET_NAME};
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

/// One sandbox's control directory.
#[derive(Debug)]
pub(crate) struct Control {
    root: OwnedFd,
}

/// Tells a control directory from all others that are there at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    major: u32,
    minor: u32,
    inode: u64,
}

impl Control {
    /// The one on a mount, which may be attached nowhere.
    pub fn open(dir: BorrowedFd<'_>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: rustix::fs::openat(dir, ".", flags, Mode::empty())? })
    }

    /// The one that a running agent keeps open, if it is this one.
    pub fn find(process: &Process, wanted: Identity) -> io::Result<Self> {
        let dir = process.directory(CONTROL_FD)?;
        if identity(dir.as_fd())? == wanted {
            Self::open(dir.as_fd())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the agent has another directory open at its place"))
        }
    }

    /// The one on disk that a sandbox of an older server has.
    pub fn on_disk(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self { root: rustix::fs::open(dir, flags, Mode::empty())? })
    }

    pub fn identity(&self) -> io::Result<Identity> {
        identity(self.root.as_fd())
    }

    /// From now on nothing inside can replace the socket. What is open stays open, and bounded by the size of the whole.
    pub fn close(&self) -> io::Result<()> {
        // The owner first, who could change the mode back.
        rustix::fs::fchown(&self.root, Some(Uid::ROOT), Some(Gid::ROOT))?;
        Ok(rustix::fs::fchmod(&self.root, Mode::RWXU)?)
    }

    /// Connects to the agent.
    pub async fn connect(&self, ids: IdRange) -> io::Result<UnixStream> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let socket = rustix::fs::openat(&self.root, SOCKET_NAME, flags, Mode::empty())?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&socket)?.st_mode);
        if kind != FileType::Socket {
            return Err(refused("what lies at its place is no socket"));
        }
        let stream = UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).await?;
        let uid = stream.peer_cred()?.uid();
        if (ids.base..ids.base + RANGE_LENGTH).contains(&uid) {
            Ok(stream)
        } else {
            Err(refused("another user listens at its place"))
        }
    }
}

/// By what the kernel has in memory: a file system that is served from inside would be asked otherwise.
fn identity(dir: BorrowedFd<'_>) -> io::Result<Identity> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found = rustix::fs::statx(dir, "", flags, StatxFlags::INO)?;
    Ok(Identity { major: found.stx_dev_major, minor: found.stx_dev_minor, inode: found.stx_ino })
}

fn refused(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("not the agent of this sandbox: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_ids() -> IdRange {
        IdRange { base: rustix::process::getuid().as_raw() }
    }

    #[tokio::test]
    async fn reaches_a_socket_of_the_right_user_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let _listener = tokio::net::UnixListener::bind(dir.path().join(SOCKET_NAME)).expect("bind");
        let control = Control::on_disk(dir.path()).expect("a directory");
        control.connect(own_ids()).await.expect("the right user");
        let other = IdRange { base: own_ids().base + RANGE_LENGTH };
        let error = control.connect(other).await.expect_err("wrong user");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[tokio::test]
    async fn follows_no_link() {
        let dir = tempfile::tempdir().expect("a directory");
        let _listener = tokio::net::UnixListener::bind(dir.path().join("elsewhere")).expect("bind");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), dir.path().join(SOCKET_NAME)).expect("link");
        let control = Control::on_disk(dir.path()).expect("a directory");
        let error = control.connect(own_ids()).await.expect_err("a link");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    /// Needs root.
    #[test]
    fn takes_a_few_files_of_a_few_bytes() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let ids = IdRange { base: 1_000_000 };
        let mount = sebring_runtime::control::make(ids).expect("made");
        let control = Control::open(mount.as_fd()).expect("opened");
        let owner = || {
            let found = rustix::fs::fstat(&control.root).expect("told");
            (found.st_uid, found.st_gid, found.st_mode & 0o7777)
        };
        assert_eq!(owner(), (ids.base, ids.base, 0o700));

        let flags = OFlags::WRONLY | OFlags::CREATE;
        let files: Vec<_> = (0..100)
            .map_while(|number| rustix::fs::openat(&control.root, format!("{number}"), flags, Mode::RUSR).ok())
            .collect();
        assert_eq!(files.len(), 7, "the root is one of eight");
        let written = |file: &OwnedFd| (0..100).map_while(|_| rustix::io::write(file, &[1; 4096]).ok()).sum::<usize>();
        assert!(files.iter().map(written).sum::<usize>() <= 64 << 10, "one page of the largest kind");

        rustix::fs::fchmod(&control.root, Mode::RWXU | Mode::RWXO).expect("as root inside may");
        control.close().expect("closed");
        assert_eq!(owner(), (0, 0, 0o700));
    }
}
