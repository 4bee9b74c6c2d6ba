//! What a handler leaves of a request's body.
//!
//! It is read before the answer goes out, whatever the handler decides: a connection that is closed with bytes still in
//! it breaks under its client, which then never sees the answer. A client that waits for `100 Continue` before it sends
//! its body (RFC 9110 §10.1.1) takes the answer instead.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::shared::Shared;

/// A body that is dropped early goes to its [`Unread`].
#[derive(Debug)]
pub struct Body {
    incoming: Option<Incoming>,
    /// Whether the client sends it only when somebody begins to read.
    waits: bool,
    unread: Unread,
}

/// Where what is left of a body turns up.
#[derive(Debug, Clone, Default)]
pub struct Unread(Arc<Shared<Option<Incoming>>>);

impl Body {
    pub fn new(incoming: Incoming, waits: bool) -> Self {
        Self { incoming: Some(incoming), waits, unread: Unread::default() }
    }

    pub fn unread(&self) -> Unread {
        self.unread.clone()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if !self.waits {
            *self.unread.0.lock() = self.incoming.take();
        }
    }
}

impl Unread {
    /// Reads on to the end, or until the client has gone.
    pub async fn read_to_end(&self) {
        let left = self.0.lock().take();
        if let Some(mut body) = left {
            while let Some(Ok(_)) = body.frame().await {}
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.waits = false;
        match &mut self.incoming {
            Some(incoming) => Pin::new(incoming).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map(http_body::Body::size_hint).unwrap_or_default()
    }
}
