//! The body of every answer that is not a success.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// What was wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Of the request.
    pub path: String,
    /// RFC 3339.
    pub timestamp: String,
    pub status_code: u16,
    /// The status in words.
    pub error: &'static str,
    /// What was wrong, and what to do.
    pub message: String,
    /// For programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// Which part answered.
    pub source: &'static str,
}

impl Failure {
    /// The failure of a request to `path`.
    pub fn new(path: &str, status: StatusCode, message: &str, code: Option<&'static str>) -> Self {
        Self {
            path: path.to_owned(),
            timestamp: sebring_store::now().to_string(),
            status_code: status.as_u16(),
            error: status.canonical_reason().unwrap_or("Error"),
            message: message.to_owned(),
            code,
            source: "DAYTONA_API",
        }
    }
}
