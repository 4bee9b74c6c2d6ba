//! Long bodies and WebSockets.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::extract::ws::{Message as AgentMessage, WebSocketUpgrade};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::server::Server;

const CHUNK: usize = 256 * 1024;
const CHUNKS: usize = 1024;

/// Resident memory of this process, bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}

fn long() -> Body {
    let chunk = Bytes::from(vec![7u8; CHUNK]);
    Body::from_stream(stream::iter(std::iter::repeat_n(chunk, CHUNKS).map(Ok::<_, std::io::Error>)))
}

async fn count(mut body: impl BodyExt<Data = Bytes> + Unpin) -> usize {
    let mut seen = 0;
    while let Some(Ok(frame)) = body.frame().await {
        seen += frame.into_data().map_or(0, |data| data.len());
    }
    seen
}

#[tokio::test]
async fn long_bodies_are_not_held() {
    let counted = async |request: Request| count(request.into_body()).await.to_string();
    let agent = Router::new().route("/up", post(counted)).route("/down", get(async || long()));
    let server = Server::new(agent).await;
    let before = resident();

    let request = server.request("POST", &server.path("/up")).body(long()).expect("a request");
    let answer = server.send(request).await.into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(answer, (CHUNK * CHUNKS).to_string());

    let request = server.request("GET", &server.path("/down")).body(Body::empty()).expect("a request");
    assert_eq!(count(server.send(request).await.into_body()).await, CHUNK * CHUNKS);

    let grown = resident().saturating_sub(before);
    assert!(grown < 16 << 20, "client, proxy and agent together grew by {grown} bytes");
}

#[tokio::test]
async fn cut_off_upload_is_the_clients_fault() {
    let counted = async |request: Request| count(request.into_body()).await.to_string();
    let server = Server::new(Router::new().route("/up", post(counted))).await;
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n",
        server.path("/up"),
        server.bearer()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

/// Says everything twice, in the protocol that was offered.
async fn twice(upgrade: WebSocketUpgrade) -> axum::response::Response {
    upgrade.protocols(["X-Daytona-Pty-Exit-Control"]).on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            if let AgentMessage::Text(text) = message {
                let text = format!("{text}{text}");
                if socket.send(AgentMessage::text(text)).await.is_err() {
                    return;
                }
            }
        }
    })
}

#[tokio::test]
async fn websockets_pass_with_their_subprotocol() {
    let server = Server::new(Router::new().route("/socket", get(twice))).await;
    let url = format!("ws://{}{}", server.address, server.path("/socket?a=b"));
    let mut request = url.as_str().into_client_request().expect("a request");
    request.headers_mut().insert("authorization", server.bearer().parse().expect("a value"));
    request.headers_mut().insert("sec-websocket-protocol", "X-Daytona-Pty-Exit-Control".parse().expect("a value"));
    let (mut socket, answer) = connect_async(request).await.expect("connected");
    assert_eq!(answer.headers()["sec-websocket-protocol"], "X-Daytona-Pty-Exit-Control");
    for word in ["a", "bc"] {
        socket.send(Message::text(word)).await.expect("sent");
        let told = socket.next().await.expect("open").expect("a message").into_text().expect("text");
        assert_eq!(told.as_str(), word.repeat(2));
    }
    socket.close(None).await.expect("closed");
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_))) | None));
}

#[tokio::test]
async fn refused_upgrade_is_an_ordinary_answer() {
    let server = Server::new(Router::new()).await;
    let url = format!("ws://{}{}", server.address, server.path("/nope"));
    let mut request = url.as_str().into_client_request().expect("a request");
    request.headers_mut().insert("authorization", server.bearer().parse().expect("a value"));
    let Err(Error::Http(answer)) = connect_async(request).await else { panic!("refused by the agent") };
    assert_eq!(answer.status(), 404);
    let Err(Error::Http(answer)) = connect_async(url).await else { panic!("refused by the proxy") };
    assert_eq!(answer.status(), 401);
}
