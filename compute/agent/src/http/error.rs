//! Errors as callers see them.
//!
//! Every operation of the agent fails with a [`Failure`]: a [`Kind`], which fixes the HTTP status and the `code` that
//! clients turn into an exception class, and a message that says what was wrong and what to do. Messages may name
//! paths and numbers of the sandbox; nothing is secret from its own caller. The body is made in one place,
//! [`Failure::body`], for all routes; within a multi-part answer it is made without a route.
//!
//! Errors of the operating system become failures where the operation knows what they mean: file operations by
//! [`Failure::file`]. All others are internal and keep the system's text.

use std::io;
use std::path::Path;

use http::StatusCode;
use serde::Serialize;

use crate::process::spawn::SpawnError;

/// The official daemon's name: clients choose exception classes by it.
const SOURCE: &str = "DAYTONA_DAEMON";

/// What went wrong, as one of the words that clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    BadRequest,
    InvalidRequestBody,
    InvalidFilePath,
    FileNotFound,
    FileAccessDenied,
    FileReadFailed,
    NotFound,
    Conflict,
    Gone,
    SessionEnded,
    CommandAlreadyCompleted,
    ProcessNotFound,
    ExecutionTimeout,
    PayloadTooLarge,
    RangeNotSatisfiable,
    DiskFull,
    Unavailable,
    GitAuthFailed,
    GitRepoNotFound,
    GitBranchNotFound,
    GitBranchExists,
    GitPushRejected,
    GitDirtyWorktree,
    GitMergeConflict,
    GitRemoteRejected,
    GitTransportFailed,
    LspServerNotInitialized,
    AccessibilityUnavailable,
    Internal,
}

impl Kind {
    fn words(self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "BAD_REQUEST"),
            Self::InvalidRequestBody => (StatusCode::BAD_REQUEST, "INVALID_REQUEST_BODY"),
            Self::InvalidFilePath => (StatusCode::BAD_REQUEST, "INVALID_FILE_PATH"),
            Self::FileNotFound => (StatusCode::NOT_FOUND, "FILE_NOT_FOUND"),
            Self::FileAccessDenied => (StatusCode::FORBIDDEN, "FILE_ACCESS_DENIED"),
            Self::FileReadFailed => (StatusCode::INTERNAL_SERVER_ERROR, "FILE_READ_FAILED"),
            Self::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            Self::Conflict => (StatusCode::CONFLICT, "CONFLICT"),
            Self::Gone => (StatusCode::GONE, "GONE"),
            Self::SessionEnded => (StatusCode::GONE, "SESSION_ENDED"),
            Self::CommandAlreadyCompleted => (StatusCode::GONE, "COMMAND_ALREADY_COMPLETED"),
            Self::ProcessNotFound => (StatusCode::NOT_FOUND, "PROCESS_NOT_FOUND"),
            Self::ExecutionTimeout => (StatusCode::REQUEST_TIMEOUT, "PROCESS_EXECUTION_TIMEOUT"),
            Self::PayloadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE"),
            Self::RangeNotSatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_NOT_SATISFIABLE"),
            Self::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "INSUFFICIENT_STORAGE"),
            Self::GitAuthFailed => (StatusCode::UNAUTHORIZED, "GIT_AUTH_FAILED"),
            Self::GitRepoNotFound => (StatusCode::NOT_FOUND, "GIT_REPO_NOT_FOUND"),
            Self::GitBranchNotFound => (StatusCode::NOT_FOUND, "GIT_BRANCH_NOT_FOUND"),
            Self::GitBranchExists => (StatusCode::CONFLICT, "GIT_BRANCH_EXISTS"),
            Self::GitPushRejected => (StatusCode::CONFLICT, "GIT_PUSH_REJECTED"),
            Self::GitDirtyWorktree => (StatusCode::CONFLICT, "GIT_DIRTY_WORKTREE"),
            Self::GitMergeConflict => (StatusCode::CONFLICT, "GIT_MERGE_CONFLICT"),
            Self::GitRemoteRejected => (StatusCode::UNPROCESSABLE_ENTITY, "GIT_REMOTE_REJECTED"),
            Self::GitTransportFailed => (StatusCode::BAD_GATEWAY, "GIT_TRANSPORT_FAILED"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE"),
            Self::LspServerNotInitialized => (StatusCode::BAD_REQUEST, "LSP_SERVER_NOT_INITIALIZED"),
            Self::AccessibilityUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "A11Y_UNAVAILABLE"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR"),
        }
    }

    pub fn status(self) -> StatusCode {
        self.words().0
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub kind: Kind,
    pub message: String,
}

/// The route that failed, for the error's body.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub method: &'a str,
    pub path: &'a str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = ErrorResponse))]
#[serde(rename_all = "camelCase")]
pub struct Envelope<'a> {
    status_code: u16,
    message: &'a str,
    code: &'a str,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
}

impl Failure {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Kind::BadRequest, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(Kind::Gone, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    pub fn execution_timeout() -> Self {
        Self::new(Kind::ExecutionTimeout, "command execution timeout")
    }

    /// What a failed system call on a path means. The path is shown as the caller gave it.
    pub fn file(path: &Path, error: &io::Error) -> Self {
        let path = path.display();
        if error.raw_os_error() == Some(libc::ELOOP) {
            return Self::new(Kind::InvalidFilePath, format!("has too many symbolic links: {path}"));
        }
        match error.kind() {
            io::ErrorKind::NotFound => Self::new(Kind::FileNotFound, format!("file not found: {path}")),
            io::ErrorKind::PermissionDenied => {
                Self::new(Kind::FileAccessDenied, format!("permission denied for the sandbox user: {path}"))
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::new(Kind::DiskFull, format!("the disk is full: no space left on device for {path}"))
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                Self::new(Kind::FileAccessDenied, format!("the file system is read-only: {path}"))
            }
            io::ErrorKind::IsADirectory => {
                Self::new(Kind::InvalidFilePath, format!("is a directory, not a file: {path}"))
            }
            io::ErrorKind::NotADirectory => Self::new(Kind::InvalidFilePath, format!("is not a directory: {path}")),
            io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => {
                Self::new(Kind::InvalidFilePath, format!("is no valid path (too long, or with a zero byte): {path}"))
            }
            _ => Self::new(Kind::FileReadFailed, format!("{path}: {error}")),
        }
    }

    /// The JSON that clients parse.
    pub fn body(&self, place: Option<Place<'_>>) -> Vec<u8> {
        let (status, code) = self.kind.words();
        let envelope = Envelope {
            status_code: status.as_u16(),
            message: &self.message,
            code,
            source: SOURCE,
            timestamp: place.map(|_| jiff::Timestamp::now().to_string()),
            path: place.map(|place| place.path),
            method: place.map(|place| place.method),
        };
        // Only strings and a number: this cannot fail.
        serde_json::to_vec(&envelope).unwrap_or_default()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<SpawnError> for Failure {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::Stopping => Self::gone(error.to_string()),
            _ => Self::internal(error.to_string()),
        }
    }
}
