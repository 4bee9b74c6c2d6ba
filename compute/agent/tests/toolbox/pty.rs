//! Terminals.

use std::os::unix::net::UnixStream;

use serde_json::json;
use tungstenite::{Message, WebSocket};

use crate::agent::{Agent, drain};

const EXIT_CONTROL: &str = "X-Daytona-Pty-Exit-Control";

/// Terminal output up to a text.
fn until(socket: &mut WebSocket<UnixStream>, end: &str) -> String {
    let mut output = String::new();
    while !output.contains(end) {
        match socket.read().expect("a message") {
            Message::Binary(bytes) => output.push_str(&String::from_utf8_lossy(&bytes)),
            other => panic!("{other:?} after {output:?}"),
        }
    }
    output
}

fn connected(mut socket: WebSocket<UnixStream>) -> WebSocket<UnixStream> {
    let first = socket.read().expect("a message").into_text().expect("a text");
    assert_eq!(first.as_str(), r#"{"type":"control","status":"connected"}"#);
    socket
}

fn type_in(socket: &mut WebSocket<UnixStream>, text: &str) {
    socket.send(Message::binary(text.as_bytes().to_vec())).expect("an open socket");
}

#[test]
fn create_and_connect_in_one() {
    let agent = Agent::new();
    // {"WHO":"me"}
    let protocols = format!("X-Daytona-Pty-Envs~eyJXSE8iOiJtZSJ9, {EXIT_CONTROL}");
    let path = "/process/pty/create-connect?id=one&cols=100&rows=30&cwd=/tmp";
    let mut socket = connected(agent.websocket(path, &protocols));
    let info = agent.get("/process/pty/one").json();
    assert_eq!((&info["active"], &info["cols"], &info["cwd"]), (&json!(true), &json!(100), &json!("/tmp")));
    type_in(&mut socket, "stty size; pwd; echo $WHO $TERM; echo en''d\n");
    let output = until(&mut socket, "\nend");
    assert!(output.contains("30 100\r\n/tmp\r\nme xterm-256color\r\n"), "{output}");
    let resized = agent.post("/process/pty/one/resize", &json!({"cols": 1000, "rows": 50})).json();
    assert_eq!(resized["cols"], 1000);
    type_in(&mut socket, "stty size; echo en''d2\n");
    assert!(until(&mut socket, "\nend2").contains("50 1000"));
    type_in(&mut socket, "exit 3\n");
    let (messages, code, reason) = drain(&mut socket);
    let last = messages.last().expect("the exit").to_text().expect("a text");
    assert_eq!(last, r#"{"type":"control","status":"exited","exitCode":3,"exitReason":"non-zero exit"}"#);
    assert_eq!((code, reason.as_str()), (1011, r#"{"exitCode":3,"exitReason":"non-zero exit"}"#));
    assert_eq!(agent.get("/process/pty").json(), json!({"sessions": []}));
}

#[test]
fn created_first_and_started_by_the_first_client() {
    let agent = Agent::new();
    let answer = agent.post("/process/pty", &json!({"id": "lazy", "lazyStart": true, "envs": {"WHO": "me"}}));
    assert_eq!((answer.status, answer.json()), (201, json!({"sessionId": "lazy"})));
    assert_eq!(agent.get("/process/pty/lazy").json()["active"], false);
    let mut first = connected(agent.websocket("/process/pty/lazy/connect", ""));
    type_in(&mut first, "echo -; echo $WHO-1\n");
    until(&mut first, "\nme-1");
    // A second client sees what was, and both see what comes.
    let mut second = connected(agent.websocket("/process/pty/lazy/connect", ""));
    until(&mut second, "me-1");
    type_in(&mut second, "echo -; echo $WHO-2\n");
    until(&mut first, "\nme-2");
    until(&mut second, "\nme-2");
    drop(first);
    type_in(&mut second, "exit\n");
    let (messages, code, reason) = drain(&mut second);
    assert!(messages.iter().all(Message::is_binary), "no protocol, no text");
    assert_eq!((code, reason.as_str()), (1000, r#"{"exitCode":0}"#));
}

#[test]
fn a_killed_terminal() {
    let agent = Agent::new();
    assert_eq!(agent.post("/process/pty", &json!({"id": "k"})).status, 201);
    let mut socket = connected(agent.websocket("/process/pty/k/connect", EXIT_CONTROL));
    assert_eq!(agent.delete("/process/pty/k").status, 200);
    let (_, code, reason) = drain(&mut socket);
    assert_eq!((code, reason.as_str()), (1011, r#"{"exitCode":137,"exitReason":"SIGKILL"}"#));
    assert_eq!(agent.delete("/process/pty/k").status, 404);
}

#[test]
fn refusals_are_http() {
    let agent = Agent::new();
    for body in [json!({}), json!({"id": ""}), json!({"id": "a", "cols": 0}), json!({"id": "a", "rows": 1001})] {
        assert_eq!(agent.post("/process/pty", &body).status, 400, "{body}");
    }
    assert_eq!(agent.post("/process/pty", &json!({"id": "a", "cwd": "/no/such"})).status, 400);
    assert_eq!(agent.post("/process/pty", &json!({"id": "a", "lazyStart": true})).status, 201);
    assert_eq!(agent.post("/process/pty", &json!({"id": "a"})).code(), "CONFLICT");
    assert_eq!(agent.get("/process/pty/b").status, 404);
    assert_eq!(agent.get("/process/pty/a/connect").status, 400, "no upgrade");
    assert_eq!(agent.post("/process/pty/a/resize", &json!({"cols": 0, "rows": 1})).status, 400);
}

#[test]
fn nothing_is_lost_between_a_fast_program_and_a_slow_client() {
    let agent = Agent::new();
    let mut socket = connected(agent.websocket("/process/pty/create-connect?id=fast", ""));
    type_in(&mut socket, "stty -echo -opost; seq 1 400000; echo en''d\n");
    let output = until(&mut socket, "\nend");
    let numbers = output.split_once("1\n2\n").expect("the beginning").1;
    let mut next = 3;
    for line in numbers.lines().take_while(|line| *line != "end") {
        assert_eq!(line.parse(), Ok(next));
        next += 1;
    }
    assert_eq!(next, 400_001);
    // The other way round: more than the terminal's queue holds.
    type_in(&mut socket, "stty raw -echo; echo rea''dy; head -c 1000000 | wc -c; echo en''d2\n");
    until(&mut socket, "\nready");
    type_in(&mut socket, &"k".repeat(1_000_000));
    assert!(until(&mut socket, "\nend2").contains("1000000"));
}
