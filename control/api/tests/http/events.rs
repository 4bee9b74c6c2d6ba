//! State changes over Socket.IO, as the SDKs listen to them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::server::Server;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn listen(server: &Server) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = server.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn connect(address: SocketAddr, token: &str) -> Socket {
    let url = format!("ws://{address}/api/socket.io/?source=sdk-python&transport=websocket&EIO=4");
    let (mut socket, _) = connect_async(url).await.expect("connected");
    assert!(text(&mut socket).await.starts_with("0{"), "the handshake of Engine.IO");
    let hello = format!("40{}", json!({ "token": token }));
    socket.send(Message::text(hello)).await.expect("sent");
    socket
}

async fn text(socket: &mut Socket) -> String {
    loop {
        let message = timeout(Duration::from_secs(10), socket.next()).await.expect("in time");
        let text = message.expect("open").expect("a message").into_text().expect("text").to_string();
        if text != "2" {
            return text;
        }
        socket.send(Message::text("3")).await.expect("a ping is answered");
    }
}

async fn event(socket: &mut Socket) -> (String, Value) {
    let frame = text(socket).await;
    let event: (String, Value) = serde_json::from_str(frame.strip_prefix("42").expect("an event")).expect("JSON");
    event
}

#[tokio::test]
async fn every_change_is_told_with_the_whole_sandbox() {
    let server = Server::new().await;
    let address = listen(&server).await;
    let mut socket = connect(address, server.rig.key.reveal()).await;
    assert!(text(&mut socket).await.starts_with("40{\"sid\""));

    let created = server.ask("POST", "/api/sandbox", Some(r#"{"name":"box"}"#)).await.json;
    let (name, sandbox) = event(&mut socket).await;
    assert_eq!((name.as_str(), &sandbox["id"]), ("sandbox.created", &created["id"]));
    let (name, update) = event(&mut socket).await;
    assert_eq!(name, "sandbox.state.updated");
    assert_eq!((&update["oldState"], &update["newState"]), (&json!("creating"), &json!("started")));
    assert_eq!(update["sandbox"]["toolboxProxyUrl"], format!("http://{address}/toolbox"));
    let mut expected = created;
    expected["toolboxProxyUrl"] = update["sandbox"]["toolboxProxyUrl"].clone();
    assert_eq!(update["sandbox"], expected);

    server.ask("DELETE", "/api/sandbox/box", None).await;
    assert_eq!(event(&mut socket).await.1["newState"], "destroying");
    assert_eq!(event(&mut socket).await.1["newState"], "destroyed");
}

#[tokio::test]
async fn wrong_keys_are_refused() {
    let server = Server::new().await;
    let address = listen(&server).await;
    let mut socket = connect(address, "wrong").await;
    assert_eq!(text(&mut socket).await, r#"44{"message":"Unauthorized"}"#);
}
