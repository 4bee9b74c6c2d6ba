//! WebSockets (RFC 6455): the upgrade of a request, and messages.

use std::future::Future;

use futures_util::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderValue, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use super::body::Body;
use super::error::Failure;
use super::request::Request;
use super::response::{self, Response};

/// A client that ends the shell of a terminal offers this protocol, and wants it chosen.
pub const EXIT_CONTROL: &str = "X-Daytona-Pty-Exit-Control";
/// Each connection has such a buffer for reading; the default is for servers with few of them.
const READ_BUFFER: usize = 16 * 1024;
/// The largest message taken.
const LARGEST_MESSAGE: usize = 16 * 1024 * 1024;
/// RFC 6455 §5.5: a control frame has 125 bytes, two of them the code.
const LONGEST_REASON: usize = 123;

pub mod close_code {
    pub const NORMAL: u16 = 1000;
    pub const PROTOCOL_ERROR: u16 = 1002;
    pub const POLICY: u16 = 1008;
    pub const ERROR: u16 = 1011;
    /// Of this API: the code's time is over.
    pub const TIMEOUT: u16 = 4008;
}

/// The other side has gone.
#[derive(Debug)]
pub struct Closed;

pub struct WebSocket(WebSocketStream<TokioIo<Upgraded>>);

/// A message with content.
#[derive(Debug)]
pub enum Incoming {
    Text(String),
    Binary(Vec<u8>),
}

impl Incoming {
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// The protocols that a client offers, in its order.
pub fn offered_protocols(request: &Request) -> Vec<String> {
    let headers = request.parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    let values = headers.iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|protocol| protocol.trim().to_owned()).collect()
}

/// Refuses a request that is no upgrade to a WebSocket.
pub fn check(request: &Request) -> Result<(), Failure> {
    let asks = request
        .header(UPGRADE)
        .is_some_and(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case("websocket")));
    let extensions = &request.parts.extensions;
    if asks
        && request.header(SEC_WEBSOCKET_VERSION) == Some("13")
        && request.header(SEC_WEBSOCKET_KEY).is_some()
        && extensions.get::<OnUpgrade>().is_some()
    {
        return Ok(());
    }
    Err(Failure::bad_request("this is a WebSocket: send an upgrade request (RFC 6455, version 13)"))
}

/// Answers with the upgrade and converses on a task of its own.
pub fn upgrade<F>(
    mut request: Request,
    converse: impl FnOnce(WebSocket) -> F + Send + 'static,
) -> Result<Response, Failure>
where
    F: Future<Output = ()> + Send + 'static,
{
    check(&request)?;
    let key = derive_accept_key(request.header(SEC_WEBSOCKET_KEY).unwrap_or_default().as_bytes());
    let protocol = chosen_protocol(offered_protocols(&request));
    let upgrade = request.parts.extensions.remove::<OnUpgrade>();
    tokio::spawn(async move {
        // A client that gives up in the middle has no use for the answer.
        if let Some(upgrade) = upgrade
            && let Ok(connection) = upgrade.await
        {
            let config = WebSocketConfig::default()
                .read_buffer_size(READ_BUFFER)
                .write_buffer_size(0)
                .max_message_size(Some(LARGEST_MESSAGE))
                .max_frame_size(Some(LARGEST_MESSAGE));
            let stream = WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, Some(config)).await;
            converse(WebSocket(stream)).await;
        }
    });
    let mut response = response::with_status(StatusCode::SWITCHING_PROTOCOLS, Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let value = |text: String| HeaderValue::try_from(text).map_err(|error| Failure::internal(error.to_string()));
    headers.insert(SEC_WEBSOCKET_ACCEPT, value(key)?);
    if let Some(protocol) = protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value(protocol)?);
    }
    Ok(response)
}

/// Exactly one of those offered, none when none is: some clients fail on anything else.
fn chosen_protocol(offered: Vec<String>) -> Option<String> {
    let exit_control = offered.iter().position(|protocol| protocol == EXIT_CONTROL);
    offered.into_iter().nth(exit_control.unwrap_or(0))
}

impl WebSocket {
    pub async fn send_text(&mut self, text: String) -> Result<(), Closed> {
        self.0.send(Message::text(text)).await.map_err(|_| Closed)
    }

    /// Queues a message that [`Self::flush`] sends. At once, after what was queued before has been sent.
    pub async fn hand_over(&mut self, text: String) -> Result<(), Closed> {
        self.0.feed(Message::text(text)).await.map_err(|_| Closed)
    }

    /// Sends what is queued. Cancelling it loses nothing.
    pub async fn flush(&mut self) -> Result<(), Closed> {
        self.0.flush().await.map_err(|_| Closed)
    }

    pub async fn send_binary(&mut self, bytes: Vec<u8>) -> Result<(), Closed> {
        self.0.send(Message::binary(bytes)).await.map_err(|_| Closed)
    }

    /// The next message with content, none when the other side has closed. Pings are answered meanwhile. Cancelling
    /// it loses nothing.
    pub async fn receive(&mut self) -> Option<Incoming> {
        loop {
            match self.0.next().await?.ok()? {
                Message::Text(text) => return Some(Incoming::Text(text.as_str().to_owned())),
                Message::Binary(bytes) => return Some(Incoming::Binary(bytes.into())),
                Message::Close(_) => return None,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Says farewell and waits for the other side's.
    pub async fn close(mut self, code: u16, reason: &str) {
        let end = (0..=LONGEST_REASON.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
        let frame = CloseFrame { code: code.into(), reason: reason[..end].to_owned().into() };
        // The other side may be gone already.
        if self.0.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = self.0.next().await {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_offered_protocol_is_chosen() {
        let chosen = |offered: &[&str]| chosen_protocol(offered.iter().map(|one| (*one).to_owned()).collect());
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&["a", "b"]).as_deref(), Some("a"));
        assert_eq!(chosen(&["a", EXIT_CONTROL]).as_deref(), Some(EXIT_CONTROL));
    }
}
