//! Who the sandbox's work is done as.

use std::io;

use nix::unistd::{Gid, Uid};

/// The sandbox user, as the kernel and programs know it.
#[derive(Debug, Clone)]
pub struct Identity {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, the primary one included.
    pub groups: Vec<u32>,
    pub home: String,
}

/// Has the kernel check every later file operation of this thread, and of threads it starts, as the user.
///
/// Only the file system ids change: with the file system uid no longer 0 the kernel drops the capabilities that
/// pass over permissions (capabilities(7), "Effect of user ID changes"), while signals are still sent as root.
/// Without privileges, as in tests, everything is the caller's already.
pub fn assume_for_files(identity: &Identity) -> io::Result<()> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    if std::process::id() == 1 {
        nix::unistd::setgroups(&groups)?;
    }
    nix::unistd::setfsgid(Gid::from_raw(identity.gid));
    nix::unistd::setfsuid(Uid::from_raw(identity.uid));
    // The calls report nothing; an invalid id reads the present one.
    if nix::unistd::setfsuid(Uid::from_raw(u32::MAX)).as_raw() == identity.uid {
        Ok(())
    } else {
        Err(io::Error::other(format!("the kernel refuses uid {}", identity.uid)))
    }
}
