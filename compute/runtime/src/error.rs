//! One error type: which step failed, and what the kernel said.

use std::borrow::Cow;
use std::io;

/// A step of making, starting or ending a sandbox failed.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub struct RuntimeError {
    step: Cow<'static, str>,
    source: io::Error,
}

impl RuntimeError {
    /// `step` says what was being done, as a noun phrase: "mount of the overlay".
    pub fn new(step: impl Into<Cow<'static, str>>, source: impl Into<io::Error>) -> Self {
        Self { step: step.into(), source: source.into() }
    }

    /// The kernel's error number, where the error came from the kernel.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// Whether freeing resources may make it succeed: out of disk, memory, processes, descriptors, devices.
    pub fn is_exhaustion(&self) -> bool {
        matches!(
            self.errno(),
            Some(
                libc::ENOSPC | libc::EDQUOT | libc::ENOMEM | libc::EAGAIN | libc::EMFILE | libc::ENFILE | libc::EUSERS
            )
        )
    }
}

/// Names the step that a result belongs to.
pub trait Context<T> {
    /// Turns the error into a [`RuntimeError`] of this step.
    fn step(self, step: impl Into<Cow<'static, str>>) -> Result<T, RuntimeError>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn step(self, step: impl Into<Cow<'static, str>>) -> Result<T, RuntimeError> {
        self.map_err(|source| RuntimeError::new(step, source))
    }
}
