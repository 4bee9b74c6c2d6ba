//! `/dev`: a small tmpfs of each sandbox, which it can't change.
//!
//! A user namespace can't make device nodes, so they are made here, ahead of need. One `/dev` for all sandboxes would be
//! cheaper, but each could then watch by inotify when others use `null` and `urandom`, and lock these against them. `pts` and
//! `shm` are places for the sandbox's own file systems, `.nest` and `.empty` for what [`crate::child`] says.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{AtFlags, FileType, Mode, chmodat, makedev, mkdirat, mknodat, symlinkat};

use crate::error::{Context, RuntimeError};
use crate::mounts::{self, Attributes};

/// A character device: name, major and minor number. Everybody may use it.
pub(crate) type Node = (&'static str, u32, u32);

/// What no program does without.
const NODES: [Node; 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
/// File systems in user space, and tunnels. Each is bound to the user or network namespace of who opens it, and does nothing
/// without a mount or `CAP_NET_ADMIN` there.
pub(crate) const SYSTEM_NODES: [Node; 2] = [("fuse", 10, 229), ("net/tun", 10, 200)];
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
];
const DIRECTORIES: [&str; 7] = ["pts", "shm", "net", ".empty", ".nest", ".nest/proc", ".nest/sys"];
const STEP: &str = "device nodes";

/// A mount that is attached nowhere.
#[derive(Debug)]
pub struct DeviceNodes(OwnedFd);

impl DeviceNodes {
    /// With what the sandboxes of every profile have.
    pub fn prepare() -> Result<Self, RuntimeError> {
        let options = [(c"source", "sebring-dev"), (c"mode", "0755"), (c"size", "64k")];
        let made = Self(mounts::new_filesystem(c"tmpfs", &options, 0).step(STEP)?);
        made.fill().step(STEP)?;
        Ok(made)
    }

    /// Adds those of one profile. From then on nothing can be changed.
    pub(crate) fn complete(&self, nodes: &[Node]) -> Result<RawFd, RuntimeError> {
        add(self.0.as_fd(), nodes).and_then(|()| mounts::restrict(self.0.as_fd(), Attributes::DEVICES)).step(STEP)?;
        Ok(self.0.as_raw_fd())
    }

    fn fill(&self) -> io::Result<()> {
        let dir = self.0.as_fd();
        for name in DIRECTORIES {
            mkdirat(dir, name, Mode::from_raw_mode(0o755))?;
        }
        for (name, target) in LINKS {
            symlinkat(target, dir, name)?;
        }
        add(dir, &NODES)
    }
}

fn add(dir: BorrowedFd<'_>, nodes: &[Node]) -> io::Result<()> {
    for (name, major, minor) in nodes {
        mknodat(dir, *name, FileType::CharacterDevice, Mode::empty(), makedev(*major, *minor))?;
        // Whatever the server's file mode creation mask is.
        chmodat(dir, *name, Mode::from_raw_mode(0o666), AtFlags::empty())?;
    }
    Ok(())
}
