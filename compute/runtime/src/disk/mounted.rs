//! A layer in use.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

/// `EXT4_IOC_SHUTDOWN` of `linux/ext4.h`.
const SHUTDOWN: libc::Ioctl = 0x8004_587d_u32 as libc::Ioctl;
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: nothing is written any more.
const WRITE_NOTHING: u32 = 2;

/// A mounted layer: a detached mount with the directories `u` and `w`.
#[derive(Debug)]
pub struct MountedDisk {
    pub mount: OwnedFd,
    /// The loop device's number, to find the layer again.
    pub loop_device: Option<u32>,
}

impl MountedDisk {
    /// Keeps what is not written yet from being written: the layer is about to be deleted. A sandbox that still runs gets
    /// input/output errors from it.
    ///
    /// The end of a sandbox's processes and an orderly unmount would write it all out first, and wait for the disk several
    /// times to do so: tens of milliseconds on a busy host, and more with each MiB (measured).
    pub fn abandon(&self) -> io::Result<()> {
        let Some(device) = self.loop_device else { return Ok(()) };
        // The kernel announces this as an alert on every console, which takes longer than all the rest.
        let quiet = std::fs::write(format!("/sys/fs/ext4/loop{device}/msg_ratelimit_burst"), "0");
        if let Err(error) = quiet {
            tracing::debug!(device, %error, "the kernel announces the end of a disk");
        }
        let root = rustix::fs::openat(&self.mount, ".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        // SAFETY: the request reads a u32, which lives through the call.
        let result = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &WRITE_NOTHING) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
