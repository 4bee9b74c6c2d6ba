//! Facts about the sandbox, and requests that nobody answers.

use std::net::TcpListener;

use serde_json::json;

use crate::agent::Agent;

#[test]
fn directories_and_version() {
    let agent = Agent::new();
    for name in ["/work-dir", "/project-dir"] {
        assert_eq!(agent.get(name).json(), json!({"dir": agent.work()}), "{name}");
    }
    assert!(agent.get("/user-home-dir").json()["dir"].as_str().is_some_and(|dir| dir.starts_with('/')));
    assert!(agent.get("/version").json()["version"].is_string());
    assert_eq!(agent.post("/init", &json!({"token": "x"})).status, 200);
}

#[test]
fn metrics() {
    let agent = Agent::new();
    let metrics = agent.get("/system/metrics").json();
    for field in ["cpuCount", "diskFree", "diskTotal", "diskUsed", "memTotal", "memUsed", "timestampUnix"] {
        assert!(metrics[field].as_u64().is_some_and(|value| value > 0), "{field}: {metrics}");
    }
    assert!(metrics["cpuUsedPct"].is_number() && metrics["memCache"].is_u64() && metrics["timestamp"].is_string());
}

#[test]
fn ports() {
    let agent = Agent::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    assert_eq!(agent.get(&format!("/port/{port}/in-use")).json(), json!({"isInUse": true}));
    drop(listener);
    assert_eq!(agent.get(&format!("/port/{port}/in-use")).json(), json!({"isInUse": false}));
    assert!(agent.get("/port").json()["ports"].is_array());
    for bad in ["0", "65536", "x"] {
        assert_eq!(agent.get(&format!("/port/{bad}/in-use")).status, 400);
    }
}

#[test]
fn unknown_routes() {
    let agent = Agent::new();
    for (method, path) in [("GET", "/nothing"), ("PUT", "/files"), ("GET", "/process/execute"), ("GET", "/")] {
        let answer = agent.send(method, path, "", b"");
        assert_eq!((answer.status, answer.code().as_str()), (404, "NOT_FOUND"));
        assert_eq!((&answer.json()["method"], &answer.json()["path"]), (&json!(method), &json!(path)));
        assert!(answer.json()["timestamp"].is_string());
    }
    assert_eq!(agent.get("/process/session/%ff").status, 400);
}

#[test]
fn no_desktop() {
    let agent = Agent::new();
    for (method, path) in [
        ("POST", "/computeruse/start"),
        ("GET", "/computeruse/process-status"),
        ("GET", "/computeruse/screenshot/region?x=0&y=0&width=1&height=1"),
        ("POST", "/computeruse/mouse/click"),
        ("DELETE", "/computeruse/recordings/1"),
    ] {
        let answer = agent.send(method, path, "", b"");
        assert_eq!((answer.status, answer.code().as_str()), (503, "SERVICE_UNAVAILABLE"), "{path}");
        assert!(answer.text().contains("no desktop"), "{}", answer.text());
    }
    assert_eq!(agent.get("/computeruse/a11y/tree").code(), "A11Y_UNAVAILABLE");
}
