//! The two signals that pid 1 acts on, as a stream of wake-ups instead of handlers.

use std::io;
use std::os::fd::AsFd;

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::unix::AsyncFd;

fn watched() -> SigSet {
    [Signal::SIGCHLD, Signal::SIGTERM].into_iter().collect()
}

/// Blocks the watched signals, so that they wait for [`Signals`]; threads started later inherit it. A write to who has gone
/// becomes an error.
pub fn block() -> io::Result<()> {
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }?;
    let mut blocked = watched();
    // Who takes a lease of a file is told so that somebody waits, between two calls; it would end the agent.
    blocked.add(Signal::SIGIO);
    Ok(blocked.thread_block()?)
}

/// What arrived since the last look; equal signals fall together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// A child changed its state.
    pub child: bool,
    /// The sandbox is to stop.
    pub terminate: bool,
}

pub struct Signals {
    descriptor: AsyncFd<SignalFd>,
}

impl Signals {
    /// Needs a runtime; [`block`] must have been called before any thread was started.
    pub fn listen() -> io::Result<Self> {
        let descriptor = SignalFd::with_flags(&watched(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        // SAFETY: the descriptor is owned, and `SignalFd` always gives the same one.
        let descriptor = unsafe { AsyncFd::register(descriptor) }?;
        Ok(Self { descriptor })
    }

    pub async fn next(&self) -> io::Result<Arrived> {
        loop {
            let mut ready = self.descriptor.readable().await?;
            let mut arrived = Arrived::default();
            while let Some(signal) = ready.get_inner().read_signal()? {
                match i32::try_from(signal.ssi_signo) {
                    Ok(libc::SIGCHLD) => arrived.child = true,
                    Ok(libc::SIGTERM) => arrived.terminate = true,
                    _ => {}
                }
            }
            ready.clear_ready();
            if arrived != Arrived::default() {
                return Ok(arrived);
            }
        }
    }
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Signals").field(&self.descriptor.get_ref().as_fd()).finish()
    }
}
