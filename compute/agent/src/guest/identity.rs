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
    set_for_files(identity.uid, identity.gid)
}

/// Does one thing on this thread as root again, whose capabilities come back with the file system uid.
pub fn as_root<T>(identity: &Identity, work: impl FnOnce() -> T) -> io::Result<T> {
    set_for_files(0, 0)?;
    let result = work();
    if set_for_files(identity.uid, identity.gid).is_err() {
        // Going on would do what callers ask as root.
        std::process::abort();
    }
    Ok(result)
}

fn set_for_files(uid: u32, gid: u32) -> io::Result<()> {
    nix::unistd::setfsgid(Gid::from_raw(gid));
    nix::unistd::setfsuid(Uid::from_raw(uid));
    // The calls report nothing; an invalid id reads the present one.
    if nix::unistd::setfsuid(Uid::from_raw(u32::MAX)).as_raw() == uid {
        Ok(())
    } else {
        Err(io::Error::other(format!("the kernel refuses uid {uid}")))
    }
}
