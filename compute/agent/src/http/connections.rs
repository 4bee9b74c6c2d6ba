//! The open connections with the runner, upgraded ones included.
//!
//! Their other ends are outside, and a socket with one end outside can't be checkpointed. So they can be closed under
//! the tasks that serve them, which find the end of the stream, as if the other side had gone.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

use crate::shared::Shared;

/// Tells one connection from the others; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(u64);

#[derive(Debug, Default)]
pub struct Connections(Shared<List>);

#[derive(Debug, Default)]
struct List {
    last: u64,
    open: BTreeMap<ConnectionId, Arc<Shared<Line>>>,
}

/// The stream, until it is closed, and who waits for it.
#[derive(Debug)]
struct Line {
    stream: Option<UnixStream>,
    reader: Waker,
    writer: Waker,
}

impl Connections {
    /// Closes all but one.
    pub fn close_others(&self, kept: ConnectionId) {
        let list = self.0.lock();
        for (_, line) in list.open.iter().filter(|(id, _)| **id != kept) {
            let mut line = line.lock();
            line.stream = None;
            line.reader.wake_by_ref();
            line.writer.wake_by_ref();
        }
    }
}

/// One connection, listed while it lives.
#[derive(Debug)]
pub struct Connection {
    pub id: ConnectionId,
    line: Arc<Shared<Line>>,
    connections: Arc<Connections>,
}

impl Connection {
    pub fn new(stream: UnixStream, connections: Arc<Connections>) -> Self {
        let nobody = || Waker::noop().clone();
        let line = Arc::new(Shared::new(Line { stream: Some(stream), reader: nobody(), writer: nobody() }));
        let mut list = connections.0.lock();
        list.last += 1;
        let id = ConnectionId(list.last);
        list.open.insert(id, Arc::clone(&line));
        drop(list);
        Self { id, line, connections }
    }

    fn poll_writing<T>(
        &self,
        context: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut UnixStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut line = self.line.lock();
        line.writer.clone_from(context.waker());
        match &mut line.stream {
            Some(stream) => poll(Pin::new(stream), context),
            None => Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.0.lock().open.remove(&self.id);
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut line = self.line.lock();
        line.reader.clone_from(context.waker());
        match &mut line.stream {
            Some(stream) => Pin::new(stream).poll_read(context, buffer),
            // The end.
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_writing(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_writing(context, |stream, context| stream.poll_write_vectored(context, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_writing(context, |stream, context| stream.poll_flush(context))
    }

    /// Does nothing: the connection is dropped next, and whoever sees its end may rely on its being closed.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}
