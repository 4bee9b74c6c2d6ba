//! An answer's body that gives its connection back when it ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use sebring_lifecycle::Busy;
use sebring_types::SandboxId;

use crate::pool::{Pool, Sender};

/// Dropped before its end, it closes the connection, which tells the agent that nobody listens any more.
pub(crate) struct Returning {
    body: Incoming,
    lease: Option<Lease>,
    /// The sandbox is in use as long as the answer goes on.
    _busy: Option<Busy>,
}

struct Lease {
    pool: Pool,
    id: SandboxId,
    sender: Sender,
}

impl Returning {
    pub fn new(body: Incoming, pool: Pool, id: SandboxId, sender: Sender, busy: Option<Busy>) -> Self {
        let mut returning = Self { body, lease: Some(Lease { pool, id, sender }), _busy: busy };
        if returning.body.is_end_stream() {
            returning.give_back();
        }
        returning
    }

    fn give_back(&mut self) {
        if let Some(Lease { pool, id, sender }) = self.lease.take() {
            pool.keep(id, sender);
        }
    }
}

impl Body for Returning {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Err(_)) => self.lease = None,
            // Trailers are headers that nobody looked at. What was sent is all there is.
            Some(Ok(frame)) if frame.is_trailers() => {
                self.lease = None;
                return Poll::Ready(None);
            }
            Some(Ok(_)) if !self.body.is_end_stream() => {}
            _ => self.give_back(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
