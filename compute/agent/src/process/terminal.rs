//! Pseudo-terminals of the sandbox.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, posix_openpt, unlockpt};

/// In characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub cols: u16,
    pub rows: u16,
}

nix::ioctl_write_ptr_bad!(set_window_size, libc::TIOCSWINSZ, libc::winsize);

/// The agent's side and the shell's. The device belongs to the sandbox user, whose file system id opens it.
pub fn open(size: Size) -> io::Result<(OwnedFd, OwnedFd)> {
    let master: PtyMaster = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    unlockpt(&master)?;
    // Without a path: the one in /dev/pts may be another's by the time it is opened.
    // SAFETY: the call takes flags and gives a descriptor or -1.
    let slave =
        unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) };
    if slave < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let slave = unsafe { OwnedFd::from_raw_fd(slave) };
    resize(&master, size)?;
    Ok((master.into(), slave))
}

/// Of the terminal with this agent's side.
pub fn resize(master: &impl AsRawFd, size: Size) -> io::Result<()> {
    let size = libc::winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the pointer is to a value that outlives the call.
    unsafe { set_window_size(master.as_raw_fd(), &raw const size) }?;
    Ok(())
}
