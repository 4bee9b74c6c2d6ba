//! The two ways in which a sandbox can be confined. They differ in these values and in nothing else.

use std::ffi::CStr;

use crate::device_nodes::{Node, SYSTEM_NODES};
use crate::seccomp::Filter;

/// A profile made ready to be used.
#[derive(Debug)]
pub struct Profile {
    pub(crate) filter: Filter,
    pub(crate) rules: Rules,
}

/// What a profile asks of a start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Capabilities that root inside has over its own namespaces; all when absent.
    pub capabilities: Option<u64>,
    /// Device nodes beside those that every sandbox has.
    pub devices: &'static [Node],
    /// Paths of the kernel that are made read-only.
    pub read_only: &'static [&'static CStr],
    /// Whether containers can run inside, in user namespaces of their own too.
    pub nesting: bool,
}

/// Capabilities in *strict*: what package managers and servers need. Numbers of `linux/capability.h`.
const CAPABILITIES: u64 = 1 << 0 // CHOWN
    | 1 << 1 // DAC_OVERRIDE
    | 1 << 3 // FOWNER
    | 1 << 4 // FSETID
    | 1 << 5 // KILL
    | 1 << 6 // SETGID
    | 1 << 7 // SETUID
    | 1 << 8 // SETPCAP
    | 1 << 10 // NET_BIND_SERVICE
    | 1 << 13 // NET_RAW
    | 1 << 18 // SYS_CHROOT
    | 1 << 27 // MKNOD
    | 1 << 29 // AUDIT_WRITE
    | 1 << 31; // SETFCAP

const READ_ONLY: [&CStr; 5] = [c"/proc/bus", c"/proc/fs", c"/proc/irq", c"/proc/sysrq-trigger", c"/proc/sys"];

impl Profile {
    /// Whether containers can run inside.
    pub fn nesting(&self) -> bool {
        self.rules.nesting
    }

    /// Root inside is an administrator of its own namespaces: it mounts FUSE, overlay, tmpfs and the like, sets up its
    /// network and packet filter, and runs containers.
    ///
    /// `/proc/sys` is not read-only: its owner, the host's root, is nobody inside, and what belongs to the sandbox's own
    /// namespaces (`net`, for the most part) is what containers have to set.
    pub fn system() -> Self {
        Self {
            filter: Filter::system(),
            rules: Rules { capabilities: None, devices: &SYSTEM_NODES, read_only: &READ_ONLY[..4], nesting: true },
        }
    }

    /// Root inside administers users, packages and files, nothing of the kernel: no mounts, no namespaces.
    pub fn strict() -> Self {
        Self {
            filter: Filter::strict(),
            rules: Rules { capabilities: Some(CAPABILITIES), devices: &[], read_only: &READ_ONLY, nesting: false },
        }
    }
}
