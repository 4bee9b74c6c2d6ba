//! What the runner asks before a checkpoint and after a restore.

use std::io::{Read, Write};

use sebring_types::agent::{PREPARE_PATH, RESUMED_PATH};
use serde_json::json;
use tungstenite::Message;

use crate::agent::{Agent, read};

/// The agent's open sockets. It is not dumpable, so only root may look.
fn sockets(agent: &Agent) -> usize {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", agent.child.id())).expect("the agent runs");
    let links = entries.filter_map(|entry| std::fs::read_link(entry.expect("an entry").path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

#[test]
fn nothing_but_the_listener_is_open_after_prepare() {
    let agent = Agent::new();
    // The listening one; and the three of tokio's signals, where another crate of the workspace turned them on.
    let alone = sockets(&agent);
    let mut idle = agent.connect();
    let mut terminal = agent.websocket("/process/pty/create-connect?id=one", "");
    terminal.read().expect("the greeting");
    terminal.send(Message::binary(b"X=42\n".to_vec())).expect("an open socket");
    agent.post("/process/session", &json!({"sessionId": "s"}));
    let command = json!({"command": "echo begun; sleep 60", "runAsync": true});
    let command = agent.post("/process/session/s/exec", &command).json();
    let path = format!("/process/session/s/command/{}/logs?follow=true", command["cmdId"].as_str().expect("an id"));
    let mut follower = agent.connect();
    write!(follower, "GET {path} HTTP/1.1\r\nHost: sandbox\r\n\r\n").expect("the agent reads");
    let mut waiting = agent.connect();
    let body = json!({"command": "sleep 60"}).to_string();
    let head = "POST /process/execute HTTP/1.1\r\nHost: sandbox\r\nContent-Length:";
    write!(waiting, "{head} {}\r\n\r\n{body}", body.len()).expect("the agent reads");

    let mut asking = agent.connect();
    write!(asking, "POST {PREPARE_PATH} HTTP/1.1\r\nHost: sandbox\r\nContent-Length: 0\r\n\r\n").expect("it reads");
    // Reads to the end, which comes without our asking for it.
    assert_eq!(read(asking).status, 200);
    assert_eq!(sockets(&agent), alone);
    for stream in [&mut idle, &mut follower, &mut waiting] {
        stream.read_to_end(&mut Vec::new()).expect("an end");
    }
    while terminal.read().is_ok() {}

    let mut terminal = agent.websocket("/process/pty/one/connect", "");
    terminal.send(Message::binary(b"echo x is $X\n".to_vec())).expect("an open socket");
    while !terminal.read().expect("a message").to_string().contains("x is 42") {}
}

#[test]
fn a_resumed_sandbox_has_its_new_variables() {
    let agent = Agent::new();
    let answer = agent.post(RESUMED_PATH, &json!({"hostname": "other", "env": {"FROM_CONFIG": "new"}}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(agent.execute("echo $FROM_CONFIG").1, "new\n");
    let answer = agent.post(RESUMED_PATH, &json!({"hostname": "other", "env": {"A=B": ""}}));
    assert_eq!((answer.status, answer.code().as_str()), (400, "BAD_REQUEST"));
}

#[test]
fn reserved_paths_are_taken_literally() {
    let agent = Agent::new();
    assert_eq!(agent.post("/%2esbx/prepare", &json!({})).status, 404);
    assert_eq!(agent.get(PREPARE_PATH).status, 404);
}
