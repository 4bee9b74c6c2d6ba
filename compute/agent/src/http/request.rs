//! A request on its way to its handler.

use std::fmt::Display;

use bytes::Bytes;
use http::header::EXPECT;
use http::request::Parts;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use sebring_types::nearest::{self, Meant};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use super::connections::ConnectionId;
use super::error::{Failure, Kind};
use super::query::Query;
use super::unread::{Body, Unread};
use crate::blocking;
use crate::guest::limits;

/// The largest JSON body; files go by the streaming routes.
const LARGEST_JSON: usize = 64 * 1024 * 1024;
/// Pieces of a body that wait for a slow disk; each is at most what one read of the socket gives.
const PIECES: usize = 4;
/// Of a body: what handling it took goes back to the kernel at its end.
const LARGE: usize = 4 * 1024 * 1024;

/// Names that users know from elsewhere, where this API has another.
const OTHERWISE: &[Meant] = &[("workdir", "cwd"), ("workingDir", "cwd"), ("working_dir", "cwd"), ("cmd", "command")];

/// What is wrong with a body, in a caller's words.
pub fn explain(error: &serde_json::Error) -> String {
    nearest::explain(&error.to_string(), OTHERWISE)
}

/// A parameter of the query that the route does not know.
pub fn explain_parameter(name: &str, known: &[&str]) -> String {
    format!("unknown query parameter {}", nearest::guess(name, known.iter().copied(), &[]))
}

#[derive(Debug)]
pub struct Request {
    pub parts: Parts,
    pub query: Query,
    /// The connection that it came on.
    pub connection: ConnectionId,
    body: Body,
}

/// A piece of a body that is handed to a blocking thread. A stream without an end was cut off.
#[derive(Debug)]
pub enum Piece {
    Data(Bytes),
    End,
}

impl Request {
    pub fn new(request: http::Request<Incoming>, connection: ConnectionId) -> Self {
        let (parts, body) = request.into_parts();
        let query = Query::parse(parts.uri.query());
        let waits = parts.headers.contains_key(EXPECT);
        Self { parts, query, connection, body: Body::new(body, waits) }
    }

    /// What the handler will leave of the body.
    pub fn unread(&self) -> Unread {
        self.body.unread()
    }

    pub fn header(&self, name: http::HeaderName) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// Reads the whole body as a JSON object, which an empty body counts as.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Failure> {
        let body = Limited::new(self.body, LARGEST_JSON).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                Failure::new(
                    Kind::PayloadTooLarge,
                    format!("the request body is larger than {LARGEST_JSON} bytes: upload it as a file"),
                )
            } else {
                Failure::new(Kind::InvalidRequestBody, format!("the request body ended early: {error}"))
            }
        })?;
        let bytes = body.to_bytes();
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let invalid =
            |error: &dyn Display| Failure::new(Kind::InvalidRequestBody, format!("invalid request body: {error}"));
        // An array would be taken for the fields in their order.
        if !text.trim_ascii_start().starts_with(b"{") {
            return Err(invalid(&"send a JSON object"));
        }
        serde_json::from_slice(text).map_err(|error| invalid(&explain(&error)))
    }

    /// Hands the body to `consume` on a blocking thread, as it arrives. Whatever that thread decides, the body is
    /// read to its end, for the reason that [`Unread`] has.
    pub async fn stream<T, F>(self, consume: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(mpsc::Receiver<Piece>) -> T + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(PIECES);
        let (outcome, consumed) = oneshot::channel();
        blocking::start(move || {
            // The request may have been given up.
            let _ = outcome.send(consume(receiver));
        })?;
        let mut body = self.body;
        let (mut wanted, mut length) = (true, 0);
        let complete = loop {
            match body.frame().await {
                None => break true,
                Some(Err(_)) => break false,
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        length += data.len();
                        wanted = wanted && sender.send(Piece::Data(data)).await.is_ok();
                    }
                }
            }
        };
        if complete {
            // A consumer that has its answer already needs no end.
            let _ = sender.send(Piece::End).await;
        }
        drop(sender);
        let outcome = consumed.await.map_err(|_| Failure::gone("the sandbox is stopping"));
        if length >= LARGE {
            limits::return_memory();
        }
        outcome
    }
}

/// Runs file work where it may block.
pub async fn blocking<T, F>(work: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Failure> + Send + 'static,
{
    blocking::run(work).await
}
