//! The front door over real sockets.

use std::net::SocketAddr;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::any;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

async fn start(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(serve(listener, app, std::future::pending(), Duration::ZERO));
    address
}

/// Refuses without a look at the body; `/known` needs no more than its path.
fn app() -> Router {
    let known = async |request: Request| {
        request.extensions().get::<Visitor>().expect("a visitor").welcome();
        "hello"
    };
    Router::new().route("/known", any(known)).fallback(async || (StatusCode::NOT_FOUND, "no"))
}

async fn connect(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(text.as_bytes()).await.expect("sent");
    stream
}

async fn answer_on(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4096];
    let read = stream.read(&mut bytes).await.expect("an answer");
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

/// What comes until the server closes the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    timeout(Duration::from_secs(3600), stream.read_to_string(&mut text)).await.expect("closed").expect("no reset");
    text
}

#[tokio::test(start_paused = true)]
async fn strangers_do_not_stay() {
    let address = start(app()).await;
    let answered = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    for (beginning, longest) in [("", 21), ("GET / HTTP/1.1\r\nhost: x\r\nx-slow: ", 21), (answered, 22)] {
        let began = Instant::now();
        rest(connect(address, beginning).await).await;
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(19) && took < Duration::from_secs(longest), "{beginning:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn known_clients_keep_connections_for_longer() {
    let address = start(app()).await;
    let mut stream = connect(address, "GET /known HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer_on(&mut stream).await.starts_with("HTTP/1.1 200"));
    tokio::time::advance(IDLE / 2).await;
    stream.write_all(b"GET /known HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("open");
    assert!(answer_on(&mut stream).await.starts_with("HTTP/1.1 200"));
    let began = Instant::now();
    rest(stream).await;
    assert!(began.elapsed() >= IDLE - Duration::from_secs(1));
}

#[tokio::test]
async fn a_flood_of_strangers_leaves_the_others_alone() {
    let address = start(app()).await;
    let mut known = connect(address, "GET /known HTTP/1.1\r\nhost: x\r\n\r\n").await;
    answer_on(&mut known).await;
    let half = "GET / HTTP/1.1\r\nx: ";
    let mut flood = Vec::new();
    for _ in 0..seats::share().min(600) {
        flood.push(connect(address, half).await);
    }
    let mut late = connect(address, "GET /known HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer_on(&mut late).await.starts_with("HTTP/1.1 200"));
    known.write_all(b"GET /known HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("open");
    assert!(answer_on(&mut known).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_body_that_nobody_wants_leaves_the_connection_whole() {
    let address = start(app()).await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    for _ in 0..50 {
        let body = "x".repeat(200_000);
        let head = format!("POST /missing HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.expect("open");
        stream.write_all(body.as_bytes()).await.expect("open");
        let answer = answer_on(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 404") && !answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_cut_off_after_the_answer() {
    let address = start(app()).await;
    let head = "POST /missing HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n\r\n";
    let mut stream = connect(address, head).await;
    let sent = stream.write_all(&vec![b'x'; 4_000_000]).await;
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("connection: close"), "{sent:?} {answer}");
}

#[tokio::test]
async fn heads_and_protocols_are_bounded() {
    let address = start(app()).await;
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx-request-id: {}\r\n\r\n", "A".repeat(100_000));
    let mut stream = connect(address, &long).await;
    assert!(answer_on(&mut stream).await.starts_with("HTTP/1.1 431"));
    let mut stream = connect(address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let answer = answer_on(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
}
