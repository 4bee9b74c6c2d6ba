//! Refusals, in the shape of the toolbox API.

use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use sebring_types::{RunnerError, SandboxState};
use serde::Serialize;
use uuid::Uuid;

use crate::toolbox::LOGGED;

/// Why a request did not reach an agent. The texts are for users.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Auth(#[from] sebring_auth::Error),
    #[error("the signature of the URL is not valid: make a new one")]
    Signature,
    #[error("the URL has expired: make a new one")]
    Expired,
    #[error("sandbox with id {0} not found")]
    NotFound(String),
    #[error("this path is not part of the toolbox API")]
    Internal,
    /// Client libraries look for the words "sandbox is not running", and then start it.
    #[error("the sandbox is not running, it is {}: {}", .0.as_str(), advice(*.0))]
    NotStarted(SandboxState),
    #[error("the request ended before its body did")]
    CutOff,
    #[error("the sandbox does not answer: {0}: try again, or stop and start it")]
    Gone(String),
    /// Whatever answers there is no agent of ours.
    #[error("the sandbox gave {0}, which is no answer of the toolbox API: stop and start it, or delete it")]
    Answer(&'static str),
}

fn advice(state: SandboxState) -> &'static str {
    match state {
        SandboxState::Stopped => "start it first",
        SandboxState::Error => "its errorReason says why; stop and start it, or delete it",
        _ => "wait until it is started",
    }
}

impl From<hyper::Error> for Error {
    fn from(error: hyper::Error) -> Self {
        // The body that failed is the client's: the only part of an exchange that is not between us and the agent.
        if error.is_user() {
            Self::CutOff
        } else if error.is_parse() {
            Self::Answer("something that is not HTTP, or a head that is too large")
        } else {
            Self::Gone(error.to_string())
        }
    }
}

impl From<RunnerError> for Error {
    fn from(error: RunnerError) -> Self {
        Self::Gone(error.to_string())
    }
}

impl Error {
    fn status(&self) -> (StatusCode, &'static str) {
        use sebring_auth::Error as Auth;
        match self {
            Self::Auth(Auth::Missing | Auth::Unknown) => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
            Self::Auth(Auth::OtherOrganization | Auth::Forbidden(_)) => (StatusCode::FORBIDDEN, "FORBIDDEN"),
            Self::Auth(Auth::Store(_)) => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR"),
            Self::Signature => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
            Self::Expired => (StatusCode::FORBIDDEN, "FORBIDDEN"),
            Self::NotFound(_) | Self::Internal => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            Self::CutOff => (StatusCode::BAD_REQUEST, "BAD_REQUEST"),
            Self::NotStarted(_) => (StatusCode::CONFLICT, "SANDBOX_NOT_STARTED"),
            Self::Gone(_) => (StatusCode::BAD_GATEWAY, "SANDBOX_UNREACHABLE"),
            Self::Answer(_) => (StatusCode::BAD_GATEWAY, "SANDBOX_ANSWER_INVALID"),
        }
    }

    /// The answer to the request of that method and path.
    pub fn answer(self, method: &Method, path: &str) -> Response {
        let (status, code) = self.status();
        let mut message = self.to_string();
        if status.is_server_error() {
            let id = Uuid::new_v4();
            tracing::warn!(error_id = %id, path = path.get(..LOGGED).unwrap_or(path), cause = message, "toolbox request failed");
            if status == StatusCode::INTERNAL_SERVER_ERROR {
                message = format!("the server failed: its log says why beside error id {id}");
            }
        }
        let body = Failure {
            status_code: status.as_u16(),
            message,
            code,
            source: "DAYTONA_PROXY",
            timestamp: Timestamp::now().to_string(),
            path,
            method: method.as_str(),
        };
        (status, Json(body)).into_response()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure<'a> {
    status_code: u16,
    message: String,
    code: &'static str,
    source: &'static str,
    timestamp: String,
    path: &'a str,
    method: &'a str,
}
