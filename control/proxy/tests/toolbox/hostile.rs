//! Programs that answer in an agent's place.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::HeaderMap;
use sebring_testing::Call;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::server::{Server, read};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server whose sandbox answers each request with `answer`, then `again` and again until nobody listens; the second tells
/// how many connections of the server ended.
async fn impostor(answer: &'static [u8], again: &'static [u8]) -> (Server, mpsc::UnboundedReceiver<()>) {
    let server = Server::new(Router::new()).await;
    let (tell, ended) = mpsc::unbounded_channel();
    server.rig.runner.impersonate(move |mut connection| {
        let tell = tell.clone();
        tokio::spawn(async move {
            let mut request = [0; 16 * 1024];
            while connection.read(&mut request).await.is_ok_and(|read| read > 0) {
                if connection.write_all(answer).await.is_err() {
                    break;
                }
                while !again.is_empty() && connection.write_all(again).await.is_ok() {}
            }
            // Nobody listens at the end of the test.
            let _ = tell.send(());
        });
    });
    (server, ended)
}

async fn ask(server: &Server, headers: &[(&str, &str)]) -> (u16, HeaderMap, String) {
    let mut request = server.request("GET", &server.path("/files"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = server.send(request.body(Body::empty()).expect("a request")).await;
    let headers = answer.headers().clone();
    let (status, body) = read(answer).await;
    (status, headers, body)
}

const WEBSOCKET: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[tokio::test]
async fn answers_of_no_agent_are_a_bad_gateway() {
    let too_many: &'static str = Box::leak(format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(200)).into());
    let too_long: &'static str = Box::leak(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(100_000)).into());
    for (asking, answer) in [
        (&[][..], "HTTP/1.1 307 Temporary Redirect\r\nlocation: /api/sandbox/x/stop\r\ncontent-length: 0\r\n\r\n"),
        (&[], "HTTP/1.1 302 Found\r\nlocation: //elsewhere.test/\r\ncontent-length: 0\r\n\r\n"),
        (&[], "HTTP/1.1 304 Not Modified\r\n\r\n"),
        (&[], "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"),
        (&WEBSOCKET, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"),
        (
            &[("connection", "upgrade"), ("upgrade", "h2c")],
            "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        ),
        (&[], "HTTP/1.1 999 x\r\ncontent-length: 0\r\n\r\n"),
        (&[], "hello\r\n\r\n"),
        (&[], "HTTP/1.1 200 OK\r\nx\r\n y: z\r\n\r\n"),
        (&[], "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
        (&[], too_many),
        (&[], too_long),
        (&[], ""),
    ] {
        // Ends its connection where nothing is said.
        let (server, _ended) = impostor(answer.as_bytes(), b"").await;
        if answer.is_empty() {
            server.rig.runner.impersonate(drop);
        }
        let (status, headers, body) = ask(&server, asking).await;
        assert_eq!(status, 502, "{answer:.60} {body}");
        assert!(!headers.contains_key("location") && !headers.contains_key("upgrade"), "{headers:?}");
        assert!(body.contains("DAYTONA_PROXY"), "{body}");
    }
}

#[tokio::test]
async fn heads_are_made_anew() {
    let answer = "HTTP/1.1 200 <script>\r\nset-cookie: a=b\r\ncontent-type: text/html\r\nx-daytona-x: y\r\nlink: </x>\r\n\
                  content-encoding: gzip\r\naccess-control-allow-origin: *\r\nclear-site-data: \"*\"\r\nalt-svc: h3=\":1\"\r\n\
                  transfer-encoding: chunked\r\ntrailer: location\r\n\r\n5\r\nhello\r\n0\r\nlocation: /x\r\n\r\n";
    let (server, _ended) = impostor(answer.as_bytes(), b"").await;
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    let head = format!(
        "GET {} HTTP/1.1\r\nhost: x\r\nte: trailers\r\nconnection: close, te\r\nauthorization: {}\r\n\r\n",
        server.path("/files"),
        server.bearer()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let mut names: Vec<_> = head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0)).collect();
    names.sort_unstable();
    let ours = ["cache-control", "connection", "content-security-policy", "content-type", "date"];
    let rest = ["transfer-encoding", "x-content-type-options"];
    assert_eq!(names, [&ours[..], &rest[..]].concat(), "{head}");
    assert!(head.contains("content-type: text/plain"), "{head}");
    assert_eq!(body, "5\r\nhello\r\n0\r\n\r\n");
}

/// A head that promises more or less than what follows is cut off, and never makes a second answer.
#[tokio::test]
async fn lengths_do_not_split_answers() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let (server, _ended) = impostor(answer.as_bytes(), b"").await;
        for _ in 0..3 {
            let (status, _, body) = ask(&server, &[]).await;
            assert_eq!((status, body.as_str()), (200, "hello"), "{answer}");
        }
    }
}

#[tokio::test]
async fn interim_answers_end() {
    let (server, mut ended) =
        impostor(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n").await;
    let (status, _, body) = timeout(PATIENCE, ask(&server, &[])).await.expect("bounded");
    assert_eq!(status, 502, "{body}");
    assert!(body.contains("interim answers"), "{body}");
    timeout(PATIENCE, ended.recv()).await.expect("the connection is closed");
}

#[tokio::test]
async fn endless_and_trickled_answers_end_with_their_caller() {
    let trickle: &[u8] = b"HTTP/1.1 200 OK\r\nx-";
    for (answer, again) in [(&b"HTTP/1.1 200 OK\r\n\r\n"[..], &b"x"[..]), (trickle, b""), (b"", b"")] {
        let (server, mut ended) = impostor(answer, again).await;
        let server = Arc::new(server);
        let asking = Arc::clone(&server);
        let caller = tokio::spawn(async move { ask(&asking, &[]).await });
        let asked = async {
            while server.rig.runner.count(Call::Connect) == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, asked).await.expect("asked");
        caller.abort();
        timeout(PATIENCE, ended.recv()).await.expect("the connection is closed");
    }
}

/// A WebSocket whose client went is closed, whatever the other side does.
#[tokio::test]
async fn websockets_end_with_their_caller() {
    let answer = b"HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let server = Server::new(Router::new()).await;
    let (tell, mut ended) = mpsc::unbounded_channel();
    server.rig.runner.impersonate(move |mut connection| {
        let tell = tell.clone();
        tokio::spawn(async move {
            let mut request = [0; 16 * 1024];
            assert!(connection.read(&mut request).await.is_ok_and(|read| read > 0));
            connection.write_all(answer).await.expect("sent");
            while connection.read(&mut request).await.is_ok_and(|read| read > 0) {}
            // Told that the client has gone, it holds on.
            while connection.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let _ = tell.send(());
        });
    });
    let mut request = server.request("GET", &server.path("/socket"));
    for (name, value) in WEBSOCKET {
        request = request.header(name, value);
    }
    let mut client = server.connect().await;
    let answer = client.send_request(request.body(Body::empty()).expect("a request")).await.expect("an answer");
    assert_eq!(answer.status(), 101);
    let upgraded = hyper::upgrade::on(answer).await.expect("upgraded");
    drop((upgraded, client));
    timeout(PATIENCE, ended.recv()).await.expect("the connection is closed");
}
