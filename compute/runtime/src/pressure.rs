//! News from the kernel that the host runs short of memory (PSI, Documentation/accounting/psi.rst).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

/// Microseconds that some task waited for memory, in how many.
const TRIGGER: &[u8] = b"some 20000 1000000\0";

/// Tells when tasks wait for memory, at most once a second.
#[derive(Debug)]
pub struct Pressure(File);

impl Pressure {
    /// # Errors
    /// The kernel measures no pressure: it was built or started without.
    pub fn watch() -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).open("/proc/pressure/memory")?;
        file.write_all(TRIGGER)?;
        Ok(Self(file))
    }

    /// Waits for pressure, but no longer than that.
    pub fn wait(&self, longest: Duration) -> io::Result<()> {
        let time = Timespec::try_from(longest).map_err(io::Error::other)?;
        match rustix::event::poll(&mut [PollFd::new(&self.0, PollFlags::PRI)], Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
