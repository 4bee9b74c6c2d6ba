//! `/dev` of all sandboxes of a profile: one small read-only tmpfs, shared.
//!
//! A user namespace can't make device nodes, and a tmpfs per sandbox would cost memory and time; so the nodes are made
//! once. `pts` and `shm` are places for the sandbox's own file systems, `.nest` for what [`crate::child`] says.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat, symlinkat};

use crate::error::{Context, RuntimeError};
use crate::mounts::{self, Attributes};

/// A character device: name, major and minor number. Everybody may use it.
type Node = (&'static str, u32, u32);

/// What no program does without.
pub(crate) const NODES: [Node; 6] =
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
const DIRECTORIES: [&str; 6] = ["pts", "shm", "net", ".nest", ".nest/proc", ".nest/sys"];

/// The mounted template.
#[derive(Debug)]
pub struct DeviceNodes {
    path: PathBuf,
}

impl DeviceNodes {
    /// Mounts and fills the template at an existing directory, in this process's mount namespace.
    pub(crate) fn mount(path: &Path, nodes: &[&[Node]]) -> Result<Self, RuntimeError> {
        let step = "template of the device nodes";
        let mount = mounts::new_filesystem(c"tmpfs", &[(c"mode", "0755"), (c"size", "64k")], 0).step(step)?;
        mounts::attach(mount.as_fd(), path).step(step)?;
        fill(path, &nodes.concat()).step(step)?;
        mounts::restrict(mount.as_fd(), Attributes::DEVICES).step(step)?;
        Ok(Self { path: path.to_owned() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn fill(dir: &Path, nodes: &[Node]) -> io::Result<()> {
    for name in DIRECTORIES {
        std::fs::create_dir(dir.join(name))?;
    }
    for (name, major, minor) in nodes {
        let path = dir.join(name);
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), makedev(*major, *minor))?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    }
    for (name, target) in LINKS {
        symlinkat(target, CWD, dir.join(name))?;
    }
    Ok(())
}
