//! The front door: who may hold a connection with the server, and for how long.
//!
//! A client is a *stranger* until a request of its connection shows a key, or a signature, that is right; then it is *known*,
//! for as long as the connection lasts, whatever becomes of it (an answer without an end, a WebSocket).
//!
//! - A stranger has [`STRANGER`] for each request: from one answer, or the beginning, to the end of the next.
//! - Someone known keeps a connection that is not in use for [`IDLE`].
//! - Strangers have a share of the descriptors. When it is used up, or one address has half of it, the stranger goes who
//!   had longest to show a key; so nobody who has one is turned away for those who have none.
//! - HTTP/1.1 only, with heads of at most [`LONGEST_HEAD`].
//! - A body that nobody wanted is read to its end, if that comes soon: else the answer would be lost with the connection.

mod body;
mod seats;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt;
use sebring_auth::Visitor;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use body::{Answering, Unwanted, WANTED_NOT};
use seats::{Seat, Seats};
use stream::Stream;

/// What a stranger has for a request.
const STRANGER: Duration = Duration::from_secs(20);
/// How long a known client's connection may be out of use.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// Bytes of a request before its body.
const LONGEST_HEAD: usize = 32 * 1024;
/// A client whose host says nothing for that long has gone.
const SILENCE: Duration = Duration::from_secs(60);
/// After a failure to accept that is not the client's, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then lets requests finish for at most `grace`.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    stop: impl Future<Output = ()>,
    grace: Duration,
) -> io::Result<()> {
    watch_silence(&listener)?;
    let (seats, stopping, served) = (Seats::new(seats::share()), CancellationToken::new(), TaskTracker::new());
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, address)) => {
                let seat = seats.take(address.ip());
                served.spawn(converse(stream, address, seat, app.clone(), stopping.clone()));
            }
            Err(error) if of_the_client(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection could be accepted");
                seats.make_room();
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    stopping.cancel();
    served.close();
    // What goes on for longer is cut off.
    let _ended = timeout(grace, served.wait()).await;
    Ok(())
}

/// Connections inherit it from the socket that listens.
fn watch_silence(listener: &TcpListener) -> io::Result<()> {
    sockopt::set_tcp_nodelay(listener, true)?;
    sockopt::set_socket_keepalive(listener, true)?;
    sockopt::set_tcp_keepidle(listener, SILENCE)?;
    sockopt::set_tcp_keepintvl(listener, SILENCE / 4)?;
    sockopt::set_tcp_keepcnt(listener, 4)?;
    sockopt::set_tcp_user_timeout(listener, 2 * SILENCE.as_millis() as u32)?;
    Ok(())
}

fn of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// One connection to its end, or to its upgrade.
async fn converse(stream: TcpStream, address: SocketAddr, seat: Arc<Seat>, app: Router, stopping: CancellationToken) {
    let known = Arc::clone(&seat);
    let visitor = Visitor::new(address.ip(), move || known.welcome());
    let asked = Arc::clone(&seat);
    let service = tower::service_fn(move |request| answer(app.clone(), request, visitor.clone(), Arc::clone(&asked)));
    let io = TokioIo::new(Stream::new(stream, Arc::clone(&seat)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Of the whole connection we take care ourselves.
        .header_read_timeout(None)
        .max_header_size(LONGEST_HEAD)
        .serve_connection(io, TowerToHyperService::new(service))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut overdue = std::pin::pin!(overdue(&seat));
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = &mut overdue => return tracing::debug!(%address, "a connection was out of use for too long"),
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "a connection ended");
    }
}

/// Resolves when the client has been idle for longer than it may.
async fn overdue(seat: &Seat) {
    loop {
        let deadline = seat.deadline();
        if deadline <= Instant::now() {
            return;
        }
        // By then it may have moved on, never back.
        sleep_until(deadline).await;
    }
}

async fn answer(
    app: Router,
    request: Request<Incoming>,
    visitor: Visitor,
    seat: Arc<Seat>,
) -> Result<Response<Answering>, std::convert::Infallible> {
    let used = seat.begin();
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(visitor);
    let (body, unread) = Unwanted::new(body, &parts.headers, seat);
    let mut answer = app.oneshot(Request::from_parts(parts, axum::body::Body::new(body))).await?;
    if !answer.status().is_success() && unread.left().is_some_and(|left| left > WANTED_NOT) {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer.map(|body| Answering::new(body, used)))
}

#[cfg(test)]
mod tests;
