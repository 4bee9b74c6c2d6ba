//! Answers of handlers.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::body::Body;
use super::error::{Failure, Place};

pub type Response = http::Response<Body>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// 200 with a JSON body.
pub fn json<T: Serialize>(value: &T) -> Result<Response, Failure> {
    json_with(StatusCode::OK, value)
}

pub fn json_with<T: Serialize>(status: StatusCode, value: &T) -> Result<Response, Failure> {
    let text =
        serde_json::to_vec(value).map_err(|error| Failure::internal(format!("cannot write the answer: {error}")))?;
    Ok(with_json(status, text))
}

pub fn empty(status: StatusCode) -> Response {
    with_status(status, Body::empty())
}

pub fn failure(failure: &Failure, place: Place<'_>) -> Response {
    with_json(failure.kind.status(), failure.body(Some(place)))
}

/// 200 with bytes that are mostly text.
pub fn plain(text: impl Into<Body>) -> Response {
    let mut response = with_status(StatusCode::OK, text.into());
    response.headers_mut().insert(CONTENT_TYPE, PLAIN);
    response
}

fn with_json(status: StatusCode, text: Vec<u8>) -> Response {
    json_text(status, text.into())
}

/// An answer whose body is JSON already.
pub fn json_text(status: StatusCode, body: Body) -> Response {
    let mut response = with_status(status, body);
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

pub fn with_status(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
