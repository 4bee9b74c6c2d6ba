//! WebSockets to a sandbox's toolbox.

use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::connection::Target;

pub struct WebSocket(WebSocketStream<TcpStream>);

impl WebSocket {
    /// On a connection of its own, as every WebSocket is.
    pub async fn open(target: &Target, sandbox: &str, path: &str) -> Result<Self> {
        let url = format!("ws://{}/toolbox/{sandbox}{path}", target.authority());
        let mut request = url.into_client_request()?;
        request.headers_mut().insert("authorization", target.authorization().parse()?);
        let (stream, _) =
            client_async(request, target.dial().await?).await.with_context(|| format!("no WebSocket at {path}"))?;
        Ok(Self(stream))
    }

    pub async fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(message).await?)
    }

    /// The bytes of the next message; none when the server has closed.
    pub async fn receive(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            match self.0.next().await.transpose()? {
                Some(Message::Text(text)) => return Ok(Some(text.as_bytes().to_vec())),
                Some(Message::Binary(bytes)) => return Ok(Some(bytes.to_vec())),
                Some(Message::Close(_)) | None => return Ok(None),
                Some(_) => {}
            }
        }
    }

    /// Receives until `text` has come, which may be split over messages.
    pub async fn until(&mut self, text: &str) -> Result<()> {
        let mut shown = Vec::new();
        while !shown.windows(text.len()).any(|window| window == text.as_bytes()) {
            let more = self.receive().await?;
            shown.extend(more.with_context(|| format!("closed before {text:?} was shown"))?);
        }
        Ok(())
    }
}
