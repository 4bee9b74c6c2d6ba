//! What reaches the agent, and what comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, header};
use axum::routing::{any, get};
use sebring_events::EventKind;
use sebring_testing::{Call, eventually};
use sebring_types::SandboxState;
use sebring_types::runner::StopMode;

use crate::server::{Server, read};

/// Tells what it got.
async fn echo(request: Request) -> (HeaderMap, String) {
    let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let told = format!("{} {} {}", request.method(), request.uri(), names.join(" "));
    let answer = HeaderMap::from_iter([
        (header::SET_COOKIE, "a=b".parse().expect("a value")),
        (header::ETAG, "\"x\"".parse().expect("a value")),
    ]);
    (answer, told)
}

#[tokio::test]
async fn agent_sees_the_request_but_not_the_caller() {
    let server = Server::new(Router::new().fallback(echo)).await;
    let request = server
        .request("PATCH", &server.path("/a%2Fb/c?q=%20x&y"))
        .header("cookie", "secret=1")
        .header("x-daytona-source", "sdk-python")
        .header("content-type", "text/plain")
        .header("range", "bytes=0-1")
        .body(Body::from("x"))
        .expect("a request");
    let answer = server.send(request).await;
    assert!(answer.headers().contains_key(header::ETAG) && !answer.headers().contains_key(header::SET_COOKIE));
    let (status, told) = read(answer).await;
    assert_eq!((status, told.as_str()), (200, "PATCH /a%2Fb/c?q=%20x&y content-length content-type host range"));
}

#[tokio::test]
async fn connections_are_kept_and_dropped_with_the_sandbox() {
    let server = Server::new(Router::new().route("/", get(async || "hello"))).await;
    for _ in 0..20 {
        assert_eq!(server.get("/").await, (200, "hello".to_owned()));
    }
    assert_eq!(server.rig.runner.count(Call::Connect), 1);

    let (rig, name) = (&server.rig, &server.sandbox.name);
    let mut events = rig.events.subscribe();
    rig.lifecycle.stop_sandbox(rig.organization, name, StopMode::Force).await.expect("stopped");
    rig.lifecycle.start_sandbox(rig.organization, name).await.expect("started");
    let started = EventKind::StateUpdated { old: SandboxState::Starting, new: SandboxState::Started };
    eventually(&mut events, |event| (event.kind == started).then_some(())).await;
    assert_eq!(server.get("/").await, (200, "hello".to_owned()));
    assert_eq!(server.rig.runner.count(Call::Connect), 2);
}

#[tokio::test]
async fn connection_that_the_agent_closed_is_replaced() {
    let close = async || ([(header::CONNECTION, "close")], "bye");
    let server = Server::new(Router::new().route("/", get(async || "hello")).route("/close", get(close))).await;
    for path in ["/", "/close", "/", "/close", "/"] {
        assert_eq!(server.get(path).await.0, 200, "{path}");
    }
    assert_eq!(server.rig.runner.count(Call::Connect), 3);
}

#[tokio::test]
async fn answers_of_every_status_pass() {
    let status = async |request: Request| {
        let status = request.uri().path().trim_start_matches('/').parse::<u16>().expect("a status");
        axum::http::StatusCode::from_u16(status).expect("a status")
    };
    let server = Server::new(Router::new().fallback(status)).await;
    for status in [200, 204, 400, 404, 408, 410, 500, 507] {
        assert_eq!(server.get(&format!("/{status}")).await.0, status);
    }
    assert_eq!(server.rig.runner.count(Call::Connect), 1, "empty answers give their connection back too");
}

#[tokio::test]
async fn requests_are_activity_unless_they_say_not() {
    let server = Server::new(Router::new().fallback(any(async || "ok"))).await;
    let last = || server.rig.lifecycle.get(server.rig.organization, &server.sandbox.name);
    let before = last().await.expect("found").last_activity_at;
    while sebring_store::now() <= before {
        tokio::task::yield_now().await;
    }
    let request = server.request("GET", &server.path("/")).header("x-daytona-skip-last-activity-update", "true");
    read(server.send(request.body(Body::empty()).expect("a request")).await).await;
    assert_eq!(last().await.expect("found").last_activity_at, before);
    server.get("/").await;
    assert!(last().await.expect("found").last_activity_at > before);
}

#[tokio::test]
async fn agent_hears_when_the_client_hangs_up() {
    let gone = Arc::new(AtomicUsize::new(0));
    struct Bell(Arc<AtomicUsize>);
    impl Drop for Bell {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (bell, entered) = (Arc::clone(&gone), Arc::new(tokio::sync::Notify::new()));
    let enter = Arc::clone(&entered);
    let hang = async move || {
        let _bell = Bell(bell);
        enter.notify_one();
        std::future::pending::<&str>().await
    };
    let server = Server::new(Router::new().route("/", get(hang))).await;
    let request = server.request("GET", &server.path("/")).body(Body::empty()).expect("a request");
    let mut client = server.connect().await;
    let waiting = tokio::spawn(async move { client.send_request(request).await });
    entered.notified().await;
    waiting.abort();
    let rung = async {
        while gone.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), rung).await.expect("the agent's handler was dropped");
}
