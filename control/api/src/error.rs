//! From failures to answers.
//!
//! Handlers return [`ApiError`]. Whatever is the caller's to mend keeps its text and gets the status that the SDKs
//! map to a class of errors: 400 bad request, 401 no or unknown key, 403 not allowed, 404 not there, 409 in the way
//! of something else, 501 an operation of the contract that this version lacks, 503 nothing left to give (the SDKs know 503, not 507, and it says what is true of all that
//! runs out: try again when something was freed), 504 took too long. Whatever is ours to mend becomes 500 with an id
//! that stands in the log beside the cause, which no caller sees.
//!
//! The body is written by [`envelope`], a layer around all routes, for only it knows the path; so answers that come
//! from the framework get the same shape.

use axum::Json;
use axum::extract::{OriginalUri, Request};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sebring_lifecycle::Error as Lifecycle;
use sebring_types::SandboxState;
use uuid::Uuid;

use crate::unavailable;
use crate::wire::Failure;

/// An answer that says what was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub status: StatusCode,
    /// For programs, where the status does not tell enough.
    pub code: Option<&'static str>,
    /// For people: what was wrong, and what to do.
    pub message: String,
}

impl ApiError {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, code: None, message: message.into() }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Something the contract has and this version lacks.
    pub fn unavailable(what: &str) -> Self {
        Self::bad_request(format!("{what} is not available in this version yet"))
    }

    /// An operation of the contract that this version lacks.
    pub fn not_implemented(feature: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, format!("{feature}: not available in this version yet"))
    }

    /// Logs the cause, and tells only where to look for it.
    fn internal(cause: impl std::fmt::Display) -> Self {
        let id = Uuid::new_v4();
        tracing::error!(error_id = %id, %cause, "request failed");
        let message = format!("the server failed: its log says why beside error id {id}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

impl From<Lifecycle> for ApiError {
    fn from(error: Lifecycle) -> Self {
        let (status, code) = match &error {
            Lifecycle::NotFound(_) | Lifecycle::SnapshotNotFound(_) => (StatusCode::NOT_FOUND, None),
            Lifecycle::NameTaken(_) => (StatusCode::CONFLICT, Some("NAME_TAKEN")),
            Lifecycle::WrongState { state: SandboxState::Error, .. } => (StatusCode::BAD_REQUEST, None),
            Lifecycle::WrongState { .. } | Lifecycle::Overtaken(_) => (StatusCode::CONFLICT, Some("WRONG_STATE")),
            Lifecycle::Invalid(_) | Lifecycle::InvalidCursor => (StatusCode::BAD_REQUEST, None),
            Lifecycle::NoDefaultSnapshot(_) => (StatusCode::SERVICE_UNAVAILABLE, Some("NO_DEFAULT_SNAPSHOT")),
            Lifecycle::Exhausted(_) => (StatusCode::SERVICE_UNAVAILABLE, Some("RUNNER_EXHAUSTED")),
            Lifecycle::TooSlow { .. } => (StatusCode::GATEWAY_TIMEOUT, None),
            Lifecycle::Runner(_) | Lifecycle::Store(_) | Lifecycle::Lost(_) => return Self::internal(error),
        };
        Self { status, code, message: error.to_string() }
    }
}

impl From<sebring_auth::Error> for ApiError {
    fn from(error: sebring_auth::Error) -> Self {
        use sebring_auth::Error;
        let status = match &error {
            Error::Missing | Error::Unknown => StatusCode::UNAUTHORIZED,
            Error::OtherOrganization | Error::Forbidden(_) => StatusCode::FORBIDDEN,
            Error::Store(_) => return Self::internal(error),
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives every failure its body.
pub(crate) async fn envelope(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = match zero_byte(request.uri()) {
        Some(error) => error.into_response(),
        None => next.run(request).await,
    };
    let error = match response.extensions_mut().remove::<ApiError>() {
        Some(error) => error,
        None if response.status().is_client_error() => of_the_framework(response).await,
        None => return response,
    };
    let body = Json(Failure::new(&path, error.status, &error.message, error.code));
    (error.status, body).into_response()
}

/// PostgreSQL takes none in a text, and nothing is called so.
fn zero_byte(uri: &Uri) -> Option<ApiError> {
    let found = uri.path_and_query().is_some_and(|text| text.as_str().contains("%00"));
    found.then(|| ApiError::bad_request("the address holds a zero byte (%00)"))
}

/// What the framework refused before a handler saw it; its text says why.
async fn of_the_framework(response: Response) -> ApiError {
    let status = response.status();
    let text = axum::body::to_bytes(response.into_body(), 4096).await.unwrap_or_default();
    ApiError::new(status, String::from_utf8_lossy(&text))
}

/// No such route.
pub(crate) async fn not_found(request: Request) -> ApiError {
    let (method, path) = (request.method(), whole(&request));
    if let Some(feature) = unavailable::feature(method, path) {
        return ApiError::not_implemented(feature);
    }
    let message = format!("{method} {path} is not available in this version yet: GET /api/openapi.json lists what is");
    ApiError::new(StatusCode::NOT_FOUND, message)
}

/// The route has other methods.
pub(crate) async fn method_not_allowed(request: Request) -> ApiError {
    let (method, path) = (request.method(), whole(&request));
    if let Some(feature) = unavailable::feature(method, path) {
        return ApiError::not_implemented(feature);
    }
    let message = format!("{method} {path} is not available in this version yet");
    ApiError::new(StatusCode::NOT_FOUND, message)
}

/// The path as the client gave it, not as a router inside another sees it.
fn whole(request: &Request) -> &str {
    request.extensions().get::<OriginalUri>().map_or(request.uri(), |uri| &uri.0).path()
}

/// A handler panicked; the panic itself is in the log.
pub(crate) fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    ApiError::internal("a handler panicked").into_response()
}
