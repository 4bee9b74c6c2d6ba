//! Requests that are refused, and how.

use std::collections::BTreeSet;

use crate::server::Server;
use axum::http::StatusCode;
use sebring_store::{Grant, Permission, Secret};
use sebring_testing::Call;
use sebring_types::RunnerError;

#[tokio::test]
async fn bad_bodies_name_the_field() {
    let server = Server::new().await;
    for (body, part) in [
        ("{", "the body is not JSON"),
        ("[]", "the body is wrong"),
        (r#"{"name":1}"#, "at name: invalid type: integer"),
        (r#"{"labels":{"a":1}}"#, "at labels.a: invalid type: integer"),
        (r#"{"env":[]}"#, "at env: invalid type: sequence"),
        (r#"{"cpu":"1"}"#, "at cpu: invalid type: string"),
        (r#"{"cpu":0}"#, "cpu is 0: give 1 to 2 virtual CPUs"),
        (r#"{"memory":5}"#, "memory is 5: give 1 to 4 GiB"),
        (r#"{"autoStopInterval":-1}"#, "autoStopInterval is -1: give 0 or more minutes"),
        (r#"{"name":"a/b"}"#, "name is not valid"),
        (r#"{"snapshot":"nope"}"#, "snapshot nope not found"),
        (r#"{"labels":{"code-toolbox-language":"cobol"}}"#, "give one of python, javascript, typescript"),
        (r#"{"buildInfo":{"dockerfileContent":"FROM x"}}"#, "not available in this version yet"),
        (r#"{"buildInfo":{}}"#, "dockerfileContent"),
        (r#"{"typo":1}"#, "unknown field \"typo\""),
        (r#"{"envVars":{"A":"b"}}"#, "did you mean env?"),
        (r#"{"image":"python:3.12"}"#, "did you mean snapshot, or buildInfo?"),
        (r#"{"resources":{"cpu":4}}"#, "did you mean cpu, memory and disk?"),
        (r#"{"autostopInterval":1}"#, "did you mean autoStopInterval?"),
        (r#"{"buildInfo":{"dockerfileContent":"FROM x","contexthashes":[]}}"#, "did you mean contextHashes?"),
        (r#"{"domainAllowList":","}"#, "names nothing"),
        (r#"{"name":"0199c0de-0000-7000-8000-000000000000"}"#, "looks like the id"),
    ] {
        let answer = server.ask("POST", "/api/sandbox", Some(body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body} {}", answer.text);
        assert!(answer.message().contains(part), "{body}: {}", answer.message());
        assert_eq!(answer.json["statusCode"], 400);
    }
}

#[tokio::test]
async fn unknown_fields_are_refused_everywhere() {
    let server = Server::new().await;
    for (method, path, body) in [
        ("PUT", "/api/sandbox/x/labels", Some(r#"{"labels":{},"typo":1}"#)),
        ("POST", "/api/sandbox/x/resize", Some(r#"{"cpus":2}"#)),
        ("POST", "/api/sandbox/x/network-settings", Some(r#"{"networkBlockall":true}"#)),
        ("GET", "/api/sandbox?state=started", None),
        ("GET", "/api/sandbox/paginated?pages=1", None),
        ("GET", "/api/snapshots?limits=1", None),
        ("POST", "/api/sandbox/x/stop?forced=true", None),
        ("POST", "/api/sandbox/x/start?force=true", None),
        ("GET", "/api/sandbox/x?verbos=true", None),
        ("DELETE", "/api/sandbox/x?forced=true", None),
        ("GET", "/api/snapshots/x?page=1", None),
    ] {
        let answer = server.ask(method, path, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {}", answer.text);
        assert!(answer.message().contains("unknown field"), "{path} {}", answer.text);
    }
    assert_eq!(server.ask("GET", "/api/sandbox?labels=null&verbose=true", None).await.status, StatusCode::OK);
}

#[tokio::test]
async fn duplicate_name_conflicts() {
    let server = Server::new().await;
    for status in [StatusCode::OK, StatusCode::CONFLICT] {
        assert_eq!(server.ask("POST", "/api/sandbox", Some(r#"{"name":"box"}"#)).await.status, status);
    }
}

#[tokio::test]
async fn keys_are_checked() {
    let server = Server::new().await;
    let admin = format!("Bearer {}", server.rig.key.reveal());
    let limited = Secret::generate("");
    let grant = Grant::Only(BTreeSet::from([Permission::WriteSandboxes]));
    server.rig.store.api_keys().insert(server.rig.organization, "ci", &limited, grant).await.expect("a key");
    let limited = format!("Bearer {}", limited.reveal());
    let own = server.rig.organization.to_string();
    for (method, path, headers, status) in [
        ("GET", "/api/sandbox", vec![], 401),
        ("GET", "/api/sandbox", vec![("authorization", "Bearer wrong")], 401),
        ("GET", "/api/sandbox", vec![("authorization", "Basic wrong")], 401),
        ("GET", "/api/sandbox", vec![("authorization", &admin)], 200),
        ("GET", "/api/sandbox", vec![("authorization", &admin), ("x-daytona-organization-id", &own)], 200),
        ("GET", "/api/sandbox", vec![("authorization", &admin), ("x-daytona-organization-id", "x")], 403),
        ("DELETE", "/api/sandbox/none", vec![("authorization", &limited)], 403),
        ("DELETE", "/api/sandbox/none", vec![("authorization", &admin)], 404),
        ("POST", "/api/sandbox/none/start", vec![("authorization", &limited)], 404),
        ("GET", "/api/runners", vec![("authorization", &limited)], 403),
        ("GET", "/api/runners/local", vec![("authorization", &limited)], 403),
        ("GET", "/api/health", vec![], 200),
        ("GET", "/api/health/ready", vec![], 200),
        ("GET", "/api/sandbox/a%00b", vec![("authorization", &admin)], 400),
        ("GET", "/api/config", vec![], 200),
    ] {
        let answer = server.ask_with(method, path, None, &headers).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {headers:?} {}", answer.text);
        if status >= 400 {
            assert!(answer.json["message"].is_string() && answer.json["path"] == path, "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn what_is_not_there_yet_says_so() {
    let server = Server::new().await;
    for (method, path, status) in [
        ("GET", "/api/volumes", 501),
        ("POST", "/api/sandbox/x/fork", 501),
        ("POST", "/api/snapshots", 501),
        ("DELETE", "/api/snapshots/x", 501),
        ("POST", "/api/snapshots/x/activate", 501),
        ("GET", "/api/snapshots/x/build-logs", 501),
        ("GET", "/api/preview/x/3000", 501),
        ("PATCH", "/api/sandbox/x", 404),
        ("GET", "/api/nonsense", 404),
    ] {
        let answer = server.ask(method, path, None).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {}", answer.text);
        assert!(answer.message().contains("not available in this version yet"), "{path} {}", answer.text);
        assert_eq!(answer.json["path"], path);
    }
    let answer = server.ask("GET", "/api/sandbox/%FF", None).await;
    assert!(answer.status.is_client_error() && answer.json["message"].is_string(), "{}", answer.text);
}

#[tokio::test]
async fn failures_of_the_runner_become_statuses() {
    let server = Server::new().await;
    for (error, status) in [
        (RunnerError::Invalid as fn(String) -> RunnerError, 400),
        (RunnerError::Exhausted, 503),
        (RunnerError::Internal, 500),
    ] {
        server.rig.runner.fail(Call::Create, move || error("the cause".to_owned()));
        let answer = server.ask("POST", "/api/sandbox", Some("{}")).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.message().contains("the cause"), status != 500, "{}", answer.text);
        assert_eq!(answer.message().contains("error id"), status == 500, "{}", answer.text);
    }
    server.rig.runner.hang(Call::Create);
    assert_eq!(server.ask("POST", "/api/sandbox", Some("{}")).await.status, StatusCode::GATEWAY_TIMEOUT);
}
