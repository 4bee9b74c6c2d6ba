//! The agent's end of a pipe or of a terminal. It never blocks the agent.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

nix::ioctl_read_bad!(bytes_to_read, libc::FIONREAD, libc::c_int);

#[derive(Debug)]
pub struct Pipe(AsyncFd<OwnedFd>);

impl Pipe {
    pub fn new(end: impl Into<OwnedFd>) -> io::Result<Self> {
        let end = end.into();
        fcntl(&end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        // SAFETY: an owned descriptor always gives the same number.
        Ok(Self(unsafe { AsyncFd::register(end) }?))
    }

    /// Waits until there is something to read, which may be the end.
    pub async fn readable(&self) {
        // An error shows again when it is read.
        let _ = self.0.readable().await;
    }

    /// Reads what is there now, whether or not the runtime has heard of it yet: after a process's end, what the pipe
    /// holds counts, not what was announced. 0 at the end, `WouldBlock` when nothing is there.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // The first way lets the runtime know when nothing is left.
        self.0.try_io(Interest::READABLE, |end| read(end, buffer)).or_else(|_| read(self.0.get_ref(), buffer))
    }

    /// The bytes that a pipe holds.
    pub fn waiting(&self) -> u64 {
        let mut length = 0;
        // SAFETY: an open descriptor, and the integer that the call writes.
        match unsafe { bytes_to_read(self.0.as_raw_fd(), &raw mut length) } {
            Ok(_) => u64::try_from(length).unwrap_or(0),
            // Of a pipe it cannot fail.
            Err(_) => 0,
        }
    }

    /// Writes all, and waits while the other side does not read.
    pub async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.0.writable().await?;
            match ready.try_io(|end| Ok(nix::unistd::write(end, bytes)?)) {
                Ok(written) => bytes = &bytes[written?..],
                Err(_would_block) => {}
            }
        }
        Ok(())
    }
}

impl AsRawFd for Pipe {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}

/// Once all of its other side is closed, reading from a terminal fails with EIO: that is its end.
fn read(end: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    match nix::unistd::read(end, buffer) {
        Err(nix::Error::EIO) => Ok(0),
        result => Ok(result?),
    }
}
