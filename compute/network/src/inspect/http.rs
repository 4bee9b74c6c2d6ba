//! HTTP/1 by way of us: each request is judged by its host, read and written anew, so that the server gets what was judged.

use std::convert::Infallible;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use sebring_types::denial::{Protocol, Reason};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinSet;

use super::relay::{Replay, join};
use super::{CONNECT, Visit};

/// How long a client may take for the head of a request, and be silent between two.
const IDLE: Duration = Duration::from_secs(120);
/// The only protocol that HTTP/1 may turn into: others, such as HTTP/2, would name further hosts.
const WEBSOCKET: &str = "websocket";

type Body = Either<Incoming, Full<Bytes>>;

/// Serves the client until it goes.
pub(super) async fn serve(visit: &Visit, client: Replay) -> io::Result<()> {
    let exchange = Exchange {
        visit,
        server: AsyncMutex::new(None),
        drivers: Mutex::new(JoinSet::new()),
        upgrade: Mutex::new(None),
    };
    let serving = hyper::server::conn::http1::Builder::new()
        .preserve_header_case(true)
        .auto_date_header(false)
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(client), service_fn(|request| exchange.answer(request)))
        .with_upgrades();
    if let Err(error) = serving.await {
        // SMTP and Redis may begin like a request.
        if error.is_parse() {
            visit.deny(Protocol::Tcp, None, Reason::UnknownProtocol);
        }
        return Err(io::Error::other(error));
    }
    let upgrade = exchange.upgrade.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((client, server)) = upgrade else { return Ok(()) };
    let (client, server) = tokio::try_join!(client, server).map_err(io::Error::other)?;
    join(TokioIo::new(client), TokioIo::new(server)).await
}

/// One client's connection, with the one to the server, once that is made.
struct Exchange<'v> {
    visit: &'v Visit,
    server: AsyncMutex<Option<SendRequest<Incoming>>>,
    /// Move the bytes to and from the server; end with the exchange.
    drivers: Mutex<JoinSet<()>>,
    upgrade: Mutex<Option<(OnUpgrade, OnUpgrade)>>,
}

impl Exchange<'_> {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let name = host(&request);
        let refused = match &name {
            Ok(name) if self.visit.connection.is_for(name) => None,
            Ok(name) => Some((Some(name.as_str()), Reason::NameNotAllowed)),
            Err(Unclear) => Some((None, Reason::NoName)),
        };
        if let Some((name, reason)) = refused {
            self.visit.deny(Protocol::Http, name, reason);
            let what = name.map_or_else(|| "a request without a host".to_owned(), |name| format!("{name:?}"));
            return Ok(said(StatusCode::FORBIDDEN, &format!("{what} is not in this sandbox's domain allow list")));
        }
        match self.forward(request).await {
            Ok(response) => Ok(response.map(Either::Left)),
            Err(error) => Ok(said(StatusCode::BAD_GATEWAY, &format!("{}: {error}", self.visit.to))),
        }
    }

    async fn forward(&self, mut request: Request<Incoming>) -> io::Result<Response<Incoming>> {
        let client = prepare(&mut request).then(|| hyper::upgrade::on(&mut request));
        let mut server = self.server.lock().await;
        let kept = match server.take() {
            // The server may have closed it meanwhile.
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let mut sender = match kept {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let mut response = sender.send_request(request).await.map_err(io::Error::other)?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let Some(client) = client.filter(|_| wants_websocket(response.headers())) else {
                return Err(io::Error::other("the server changed the protocol unasked"));
            };
            let joined = (client, hyper::upgrade::on(&mut response));
            *self.upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(joined);
        }
        *server = Some(sender);
        Ok(response)
    }

    async fn connect(&self) -> io::Result<SendRequest<Incoming>> {
        let stream = TokioIo::new(self.visit.connect().await?);
        let handshake = hyper::client::conn::http1::Builder::new().preserve_header_case(true).handshake(stream);
        let (sender, connection) = tokio::time::timeout(CONNECT, handshake).await?.map_err(io::Error::other)?;
        self.drivers.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
            // An error reaches who waits for the answer.
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }
}

/// It is not said for whom a request is, or not clearly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unclear;

/// The host that a request is for (RFC 9112 §3.2), which must be said once.
pub fn host<B>(request: &Request<B>) -> Result<String, Unclear> {
    if request.method() == Method::CONNECT {
        return Err(Unclear);
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(header), None) = (hosts.next(), hosts.next()) else { return Err(Unclear) };
    let header = header.to_str().ok().and_then(name).ok_or(Unclear)?;
    match request.uri().authority() {
        // Servers differ in which of the two they believe.
        Some(authority) => match name(authority.as_str()) {
            Some(absolute) if absolute.eq_ignore_ascii_case(header) => Ok(header.to_owned()),
            _ => Err(Unclear),
        },
        None => Ok(header.to_owned()),
    }
}

/// What is before the port.
fn name(authority: &str) -> Option<&str> {
    let (name, port) = authority.split_once(':').unwrap_or((authority, ""));
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    (!name.is_empty() && letters && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

/// Makes the request one for the server itself; true when it asks for WebSocket.
fn prepare<B>(request: &mut Request<B>) -> bool {
    let path = request.uri().path_and_query().cloned();
    if let Some(path) = path {
        *request.uri_mut() = Uri::from(path);
    }
    let headers = request.headers_mut();
    // Who sends the body on says anew, and once, how it ends.
    if headers.remove(TRANSFER_ENCODING).is_some() {
        headers.remove(CONTENT_LENGTH);
    }
    let websocket = wants_websocket(headers);
    if !websocket && headers.contains_key(UPGRADE) {
        drop_upgrade(headers);
    }
    websocket
}

/// Whether these name WebSocket as the next protocol, and no other beside it.
fn wants_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(UPGRADE).iter();
    let first = protocols.next().is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()));
    first && protocols.next().is_none()
}

/// As if the client had not asked for another protocol (RFC 9110 §7.8).
fn drop_upgrade(headers: &mut HeaderMap) {
    headers.remove(UPGRADE);
    headers.remove(HeaderName::from_static("http2-settings"));
    let kept: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|option| !option.eq_ignore_ascii_case("upgrade") && !option.eq_ignore_ascii_case("http2-settings"))
        .map(str::to_owned)
        .collect();
    headers.remove(CONNECTION);
    if let Ok(value) = HeaderValue::try_from(kept.join(", "))
        && !kept.is_empty()
    {
        headers.insert(CONNECTION, value);
    }
}

/// An answer of our own, after which the connection ends.
fn said(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(format!("sebring: {text}\n")))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request")
    }

    #[test]
    fn a_request_is_for_one_host() {
        let host_of = |uri, headers: &[(&str, &str)]| host(&request("GET", uri, headers));
        for (uri, header) in [("/", "a.test"), ("/", "a.test:8080"), ("http://a.test/x", "a.test:80"), ("/", "a.test:")]
        {
            assert_eq!(host_of(uri, &[("host", header)]), Ok("a.test".to_owned()), "{uri} {header}");
        }
        for (uri, headers) in [
            ("/", &[][..]),
            ("/", &[("host", "a.test"), ("host", "a.test")]),
            ("/", &[("host", "")]),
            ("/", &[("host", "a.test, b.test")]),
            ("/", &[("host", "b.test@a.test")]),
            ("/", &[("host", "a.test:80:b")]),
            ("/", &[("host", "[::1]")]),
            ("http://b.test/", &[("host", "a.test")]),
            ("http://a.test@b.test/", &[("host", "a.test")]),
            ("http://a.test/", &[]),
        ] {
            assert_eq!(host_of(uri, headers), Err(Unclear), "{uri} {headers:?}");
        }
        assert_eq!(host(&request("CONNECT", "a.test:443", &[("host", "a.test")])), Err(Unclear));
    }

    #[test]
    fn only_websocket_goes_on() {
        let mut plain = request(
            "GET",
            "http://a.test/x?y=1",
            &[("upgrade", "h2c"), ("http2-settings", "AA"), ("connection", "Upgrade, HTTP2-Settings, keep-alive")],
        );
        assert!(!prepare(&mut plain));
        assert_eq!(plain.uri(), "/x?y=1");
        assert_eq!(plain.headers().get(CONNECTION).map(HeaderValue::as_bytes), Some(&b"keep-alive"[..]));
        assert_eq!(plain.headers().len(), 1);
        for several in ["websocket, h2c", "h2c"] {
            let mut request = request("GET", "/", &[("upgrade", several), ("connection", "upgrade")]);
            assert!(!prepare(&mut request), "{several}");
            assert!(request.headers().is_empty());
        }
        let mut twice = request("GET", "/", &[("upgrade", "websocket"), ("upgrade", "h2c"), ("connection", "upgrade")]);
        assert!(!prepare(&mut twice) && twice.headers().is_empty());
        let mut websocket = request("GET", "/", &[("upgrade", "WebSocket"), ("connection", "Upgrade")]);
        assert!(prepare(&mut websocket));
        assert_eq!(websocket.headers().len(), 2);
    }
}
