//! Bodies: of requests that may not be wanted, of answers that tell when they end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::seats::{InUse, Seat};

/// Bytes of a body that are read although nobody wants them, so that the connection can be used again.
pub(super) const WANTED_NOT: u64 = 1 << 20;
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than any body has left.
const UNKNOWN: u64 = u64::MAX;

/// A request's body. Dropped before its end, it is read to its end if that is near.
pub(super) struct Unwanted {
    body: Option<Incoming>,
    /// Bytes that are to come, if they were announced.
    left: Arc<AtomicU64>,
    /// The client waits to be asked for it, and won't be.
    waits: bool,
    seat: Arc<Seat>,
}

/// What is left of a body.
pub(super) struct Unread(Arc<AtomicU64>);

impl Unread {
    /// Bytes that are to come; none if that was not announced.
    pub fn left(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Acquire)).filter(|left| *left != UNKNOWN)
    }
}

impl Unwanted {
    pub fn new(body: Incoming, headers: &HeaderMap, seat: Arc<Seat>) -> (Self, Unread) {
        let left = Arc::new(AtomicU64::new(body.size_hint().exact().unwrap_or(UNKNOWN)));
        let waits = headers.contains_key(header::EXPECT);
        (Self { body: Some(body), left: Arc::clone(&left), waits, seat }, Unread(left))
    }
}

impl HttpBody for Unwanted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        self.waits = false;
        match &frame {
            Some(Ok(frame)) => {
                let read = frame.data_ref().map_or(0, Bytes::len) as u64;
                let left = self.left.load(Ordering::Acquire);
                if left != UNKNOWN {
                    self.left.store(left.saturating_sub(read), Ordering::Release);
                }
            }
            Some(Err(_)) | None => self.body = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Unwanted {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        let seat = Arc::clone(&self.seat);
        let left = self.left.load(Ordering::Acquire);
        if self.waits || (left != UNKNOWN && left > WANTED_NOT) {
            seat.leave_unread();
            return;
        }
        tokio::spawn(async move {
            if !timeout(PATIENCE, read_rest(body)).await.is_ok_and(|ended| ended) {
                seat.leave_unread();
            }
        });
    }
}

/// Reads what is left, and says whether that was all.
async fn read_rest(mut body: Incoming) -> bool {
    let mut read = 0;
    while read <= WANTED_NOT {
        match std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Err(_)) => return false,
            None => return true,
        }
    }
    false
}

/// An answer's body; its connection is in use until it ends.
pub(super) struct Answering {
    body: Body,
    _used: InUse,
}

impl Answering {
    pub fn new(body: Body, used: InUse) -> Self {
        Self { body, _used: used }
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
