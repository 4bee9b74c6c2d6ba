//! A pseudo-terminal of the sandbox: the side that the agent holds.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, posix_openpt, unlockpt};
use tokio::io::unix::AsyncFd;

/// In characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub cols: u16,
    pub rows: u16,
}

nix::ioctl_write_ptr_bad!(set_window_size, libc::TIOCSWINSZ, libc::winsize);

#[derive(Debug)]
pub struct Terminal(AsyncFd<OwnedFd>);

impl Terminal {
    /// The agent's side and the shell's. The device belongs to the sandbox user, whose file system id opens it.
    pub fn open(size: Size) -> io::Result<(Self, OwnedFd)> {
        let master: PtyMaster = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        unlockpt(&master)?;
        // Without a path: the one in /dev/pts may be another's by the time it is opened.
        // SAFETY: the call takes flags and gives a descriptor or -1.
        let slave = unsafe {
            libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC)
        };
        if slave < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let slave = unsafe { OwnedFd::from_raw_fd(slave) };
        // SAFETY: an owned descriptor always gives the same number.
        let terminal = Self(unsafe { AsyncFd::register(OwnedFd::from(master)) }?);
        terminal.resize(size)?;
        Ok((terminal, slave))
    }

    pub fn resize(&self, size: Size) -> io::Result<()> {
        let size = libc::winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the pointer is to a value that outlives the call.
        unsafe { set_window_size(self.0.get_ref().as_raw_fd(), &raw const size) }?;
        Ok(())
    }

    /// What the shell has written; 0 when its side is closed. Cancelling it loses nothing.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(result) = ready.try_io(|master| read_now(master.get_ref(), buffer)) {
                return result;
            }
        }
    }

    /// What is there now; 0 when nothing is.
    pub fn read_left(&self, buffer: &mut [u8]) -> usize {
        read_now(self.0.get_ref(), buffer).unwrap_or(0)
    }

    /// Types. Waits while the shell does not read.
    pub async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.0.writable().await?;
            match ready.try_io(|master| Ok(nix::unistd::write(master.get_ref(), bytes)?)) {
                Ok(written) => bytes = &bytes[written?..],
                Err(_would_block) => {}
            }
        }
        Ok(())
    }
}

/// Once all of the other side is closed, reading fails with EIO: that is its end.
fn read_now(master: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    match nix::unistd::read(master, buffer) {
        Err(nix::Error::EIO) => Ok(0),
        result => Ok(result?),
    }
}
