//! Why a sandbox could not be brought where it was wanted.
//!
//! The texts of all but the last three are for users. Those three mean that something of ours failed: their cause
//! belongs into the log, and the user gets an id to ask for.

use std::fmt;
use std::time::Duration;

use sebring_types::{RunnerError, SandboxState};

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Create,
    Start,
    Stop,
    Destroy,
    /// Its network was to be changed.
    Confine,
    Resize,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "created",
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Destroy => "deleted",
            Self::Confine => "confined",
            Self::Resize => "resized",
        })
    }
}

/// Every failure of the lifecycle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("sandbox with id or name {0} not found")]
    NotFound(String),
    #[error("snapshot {0} not found: GET /api/snapshots lists those that are there")]
    SnapshotNotFound(String),
    #[error("the default snapshot {0} is not there yet: make it by `sebring snapshot bootstrap`")]
    NoDefaultSnapshot(String),
    #[error("a sandbox named {0} exists already: choose another name or delete that one first")]
    NameTaken(String),
    /// The command does not fit the state.
    #[error("the sandbox can't be {action} while it is {}: {}", .state.as_str(), advice(*.state))]
    WrongState { action: Action, state: SandboxState },
    /// Somebody deleted it meanwhile.
    #[error("the sandbox was deleted before it was {0}")]
    Overtaken(Action),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Exhausted(String),
    #[error("the sandbox could not be {action} within {} s: {}", .limit.as_secs(), "try again, or delete it")]
    TooSlow { action: Action, limit: Duration },
    #[error("the cursor is not valid for this list: start again without one")]
    InvalidCursor,
    #[error("the runner failed: {0}")]
    Runner(String),
    #[error(transparent)]
    Store(sebring_store::Error),
    #[error("an operation ended without a result: {0}")]
    Lost(String),
}

fn advice(state: SandboxState) -> &'static str {
    match state {
        SandboxState::Error => "stop it first, or delete it",
        SandboxState::Destroying | SandboxState::Destroyed => "create another one",
        _ => "wait until it has another state",
    }
}

impl Error {
    pub(crate) fn from_runner(error: RunnerError) -> Self {
        match error {
            RunnerError::Invalid(text) => Self::Invalid(text),
            RunnerError::Exhausted(text) => Self::Exhausted(text),
            RunnerError::NotFound => Self::Runner("it does not hold the sandbox in the expected state".to_owned()),
            RunnerError::Internal(text) => Self::Runner(text),
        }
    }
}

impl From<sebring_store::Error> for Error {
    fn from(error: sebring_store::Error) -> Self {
        match error {
            sebring_store::Error::InvalidCursor => Self::InvalidCursor,
            other => Self::Store(other),
        }
    }
}
