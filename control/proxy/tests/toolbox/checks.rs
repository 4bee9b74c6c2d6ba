//! Requests that do not reach an agent.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sebring_store::{Grant, Permission, Secret};
use sebring_testing::Call;
use sebring_types::RunnerError;
use sebring_types::runner::StopMode;
use serde_json::Value;
use sha2::Sha256;
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, watch};

use crate::server::{Server, read};

async fn ask(server: &Server, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let mut request = Request::builder().uri(path).header(header::HOST, "box.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (status, body) = read(server.send(request.body(Body::empty()).expect("a request")).await).await;
    (status, serde_json::from_str(&body).expect("JSON"))
}

#[tokio::test]
async fn callers_and_sandboxes_are_checked() {
    let server = Server::new(Router::new()).await;
    let admin = server.bearer();
    let limited = Secret::generate("");
    let grant = Grant::Only(BTreeSet::from([Permission::DeleteSandboxes]));
    server.rig.store.api_keys().insert(server.rig.organization, "ci", &limited, grant).await.expect("a key");
    let limited = format!("Bearer {}", limited.reveal());
    let here = server.path("/files");
    for (path, headers, status, part) in [
        (here.as_str(), vec![], 401, "no API key was given"),
        (&here, vec![("authorization", "Bearer wrong")], 401, "not valid"),
        (&here, vec![("authorization", &admin), ("x-daytona-organization-id", "x")], 403, "organization"),
        (&here, vec![("authorization", &limited)], 403, "lacks the permission write:sandboxes"),
        ("/toolbox/name/files", vec![("authorization", &admin)], 404, "name not found"),
        ("/toolbox/0199c0de-0000-7000-8000-000000000000/x", vec![("authorization", &admin)], 404, "not found"),
        (&server.path("/.sbx/prepare"), vec![("authorization", &admin)], 404, "not part of the toolbox API"),
    ] {
        let (answer, body) = ask(&server, path, &headers).await;
        assert_eq!(answer, status, "{path} {body}");
        assert!(body["message"].as_str().expect("a message").contains(part), "{body}");
        assert_eq!(body["path"], path);
        assert_eq!((body["statusCode"].as_u64(), &body["source"]), (Some(status.into()), &"DAYTONA_PROXY".into()));
    }
    assert_eq!(server.rig.runner.count(Call::Connect), 0);
}

#[tokio::test]
async fn signed_urls_need_no_key_but_the_right_one() {
    let told = async |uri: axum::http::Uri| uri.to_string();
    let server = Server::new(Router::new().fallback(told)).await;
    let ask = async |query: &str| {
        let request = Request::builder().uri(server.path(&format!("/files/download?{query}")));
        read(server.send(request.header(header::HOST, "x").body(Body::empty()).expect("a request")).await).await
    };
    let sign = |path: &str, expires: i64, key: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any key");
        mac.update(format!("v1:files:GET:{path}:{expires}").as_bytes());
        format!("v1_{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    };
    let key = server.sandbox.signing_key.clone();
    let valid = format!("path=a%2Fb&expires=0&signature={}", sign("a/b", 0, &key));
    assert_eq!(ask(&valid).await, (200, "/files/download?path=a%2Fb".to_owned()));
    assert_eq!(ask("path=a%2Fb&expires=0&signature=v1_x").await.0, 401);
    assert_eq!(ask(&format!("path=a&expires=1&signature={}", sign("a", 1, &key))).await.0, 403);
    let rig = &server.rig;
    rig.lifecycle.rotate_signing_key(rig.organization, &server.sandbox.name).await.expect("rotated");
    assert_eq!(ask(&valid).await.0, 401);
}

#[tokio::test]
async fn stopped_sandbox_says_what_to_do() {
    let server = Server::new(Router::new()).await;
    let (rig, name) = (&server.rig, &server.sandbox.name);
    rig.lifecycle.stop_sandbox(rig.organization, name, StopMode::Force).await.expect("stopped");
    let (status, body) = ask(&server, &server.path("/files"), &[("authorization", &server.bearer())]).await;
    assert_eq!((status, body["code"].as_str()), (409, Some("SANDBOX_NOT_STARTED")));
    assert_eq!(body["message"], "the sandbox is not running, it is stopped: start it first");
}

/// Whoever waits for an answer while the sandbox ends hears of its end, not of a broken connection.
#[tokio::test]
async fn an_end_is_told_to_who_waits() {
    for (stop, status, part) in [(true, 409, "sandbox is not running"), (false, 404, "not found")] {
        let entered = Arc::new(Notify::new());
        let enter = Arc::clone(&entered);
        let server = Server::new(Router::new()).await;
        let (rig, name) = (&server.rig, server.sandbox.name.clone());
        let (hang_up, ended) = watch::channel(());
        rig.runner.impersonate(move |mut connection| {
            let (mut ended, enter) = (ended.clone(), Arc::clone(&enter));
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                assert!(connection.read(&mut bytes).await.is_ok_and(|read| read > 0));
                enter.notify_one();
                let _closed = ended.changed().await;
            });
        });
        let request = server.request("GET", &server.path("/files")).body(Body::empty()).expect("a request");
        let mut client = server.connect().await;
        let waiting = tokio::spawn(async move { client.send_request(request).await });
        entered.notified().await;
        // The connections break first.
        drop(hang_up);
        if stop {
            rig.lifecycle.stop_sandbox(rig.organization, &name, StopMode::Force).await.expect("stopped");
        } else {
            rig.lifecycle.destroy_sandbox(rig.organization, &name).await.expect("accepted");
        }
        let (answered, body) = read(waiting.await.expect("no panic").expect("an answer")).await;
        assert_eq!(answered, status, "{body}");
        assert!(body.contains(part), "{body}");
    }
}

#[tokio::test]
async fn silent_agent_is_a_bad_gateway() {
    let server = Server::new(Router::new()).await;
    server.rig.runner.fail(Call::Connect, || RunnerError::Internal("connection refused".to_owned()));
    let (status, body) = ask(&server, &server.path("/files"), &[("authorization", &server.bearer())]).await;
    assert_eq!((status, body["code"].as_str()), (502, Some("SANDBOX_UNREACHABLE")));
}
