//! The way to an agent, through a directory that its sandbox could write to.
//!
//! Whatever lies there is hostile: it must be a socket and no link, and whoever listens must have user ids of that
//! sandbox. Otherwise a sandbox could make the server talk to another service of the host.

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use sebring_runtime::namespaces::{IdRange, RANGE_LENGTH};
use sebring_types::agent::SOCKET_NAME;
use tokio::net::UnixStream;

/// Connects to the agent whose control directory this is.
pub(crate) async fn connect(control_dir: &Path, ids: IdRange) -> io::Result<UnixStream> {
    let socket = rustix::fs::openat(
        CWD,
        control_dir.join(SOCKET_NAME),
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
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

fn refused(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("not the agent of this sandbox: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_ids() -> IdRange {
        IdRange { base: rustix::process::getuid().as_raw() }
    }

    fn scratch(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("sebring-connect-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("scratch directory");
        dir
    }

    #[tokio::test]
    async fn reaches_a_socket_of_the_right_user_only() {
        let dir = scratch("user");
        let _listener = tokio::net::UnixListener::bind(dir.join(SOCKET_NAME)).expect("bind");
        connect(&dir, own_ids()).await.expect("the right user");
        let other = IdRange { base: own_ids().base + RANGE_LENGTH };
        assert_eq!(connect(&dir, other).await.expect_err("wrong user").kind(), io::ErrorKind::PermissionDenied);
        std::fs::remove_dir_all(dir).expect("clean up");
    }

    #[tokio::test]
    async fn follows_no_link() {
        let dir = scratch("link");
        let _listener = tokio::net::UnixListener::bind(dir.join("elsewhere")).expect("bind");
        std::os::unix::fs::symlink(dir.join("elsewhere"), dir.join(SOCKET_NAME)).expect("link");
        assert_eq!(connect(&dir, own_ids()).await.expect_err("a link").kind(), io::ErrorKind::PermissionDenied);
        std::fs::remove_dir_all(dir).expect("clean up");
    }
}
