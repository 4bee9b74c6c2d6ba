//! The directory in which an agent binds its socket: a file system of its own in memory, so small that it does not matter
//! what a sandbox leaves in it, and gone with the sandbox.
//!
//! Its superblock belongs to the host's user namespace: root inside may use it as the owner of its root, and can change
//! neither its limits nor its owner. Pages and inodes are counted for whoever makes them, which is the sandbox.

use std::os::fd::OwnedFd;

use crate::error::{Context, RuntimeError};
use crate::mounts::{self, Attributes};
use crate::namespaces::IdRange;

/// Bytes that its files may have, all together; nobody needs any.
const SIZE: &str = "16k";
/// Of its files. The root and the socket take one each.
const INODES: &str = "8";

/// Makes one that root of the range may write to; attached nowhere.
pub fn make(ids: IdRange) -> Result<OwnedFd, RuntimeError> {
    let owner = ids.base.to_string();
    let options = [
        (c"size", SIZE),
        (c"nr_inodes", INODES),
        (c"mode", "0700"),
        (c"uid", owner.as_str()),
        (c"gid", owner.as_str()),
    ];
    mounts::new_filesystem(c"tmpfs", &options, Attributes::DATA.bits()).step("control directory")
}
