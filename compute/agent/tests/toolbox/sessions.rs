//! Sessions: state, input, logs, ends.

use serde_json::{Value, json};
use tungstenite::Message;

use crate::agent::{Agent, drain};
use crate::execute::wait_for_end;

fn session() -> Agent {
    let agent = Agent::new();
    assert_eq!(agent.post("/process/session", &json!({"sessionId": "s"})).status, 201);
    agent
}

fn run(agent: &Agent, command: &str) -> Value {
    let answer = agent.post("/process/session/s/exec", &json!({"command": command}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn run_async(agent: &Agent, command: &str, extra: Value) -> String {
    let mut body = json!({"command": command, "runAsync": true});
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    let answer = agent.post("/process/session/s/exec", &body);
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["cmdId"].as_str().expect("an id").to_owned()
}

#[test]
fn state_lasts() {
    let agent = session();
    run(&agent, "cd /tmp; export A='x y'; f() { echo \"f $1\"; }");
    let answer = run(&agent, "pwd; echo $A; f 1; echo err >&2; false");
    assert_eq!(
        (&answer["stdout"], &answer["stderr"], &answer["exitCode"]),
        (&json!("/tmp\nx y\nf 1\n"), &json!("err\n"), &json!(1))
    );
    assert_eq!(run(&agent, "echo 'it'\\''s'; cat <<E\nheredoc $A\nE")["output"], "it's\nheredoc x y\n");
    assert_ne!(run(&agent, "if")["exitCode"], 0);
    assert_eq!(run(&agent, "echo \"still $A\"")["output"], "still x y\n");
    let listed = agent.get("/process/session/s").json();
    assert_eq!(listed["commands"].as_array().map(Vec::len), Some(5));
    assert_eq!(listed["commands"][1]["exitCode"], 1);
}

#[test]
fn ids() {
    let agent = session();
    assert_eq!(agent.post("/process/session", &json!({"sessionId": "s"})).code(), "CONFLICT");
    for id in ["", "entrypoint"] {
        assert_eq!(agent.post("/process/session", &json!({"sessionId": id})).status, 400);
    }
    assert_eq!(agent.get("/process/session").json().as_array().map(Vec::len), Some(1));
    for path in ["/process/session/none", "/process/session/s/command/none", "/process/session/s/command/none/logs"] {
        assert_eq!(agent.get(path).status, 404, "{path}");
    }
    assert_eq!(agent.delete("/process/session/s").status, 204);
    assert_eq!(agent.delete("/process/session/s").status, 404);
}

#[test]
fn input_and_followed_logs() {
    let agent = session();
    let command = "read a; echo got:$a; read b; echo err:$b >&2; printf end";
    let id = run_async(&agent, command, json!({"suppressInputEcho": true}));
    let path = format!("/process/session/s/command/{id}");
    let mut socket = agent.websocket(&format!("{path}/logs?follow=true"), "");
    for line in ["one", "two\n"] {
        let answer = loop {
            let answer = agent.post(&format!("{path}/input"), &json!({"data": line}));
            // Right after the start the command may not have its input yet.
            if answer.status != 409 {
                break answer;
            }
        };
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    let (messages, code, _) = drain(&mut socket);
    let (mut stdout, mut stderr) = (String::new(), String::new());
    for message in messages {
        let Message::Binary(bytes) = message else { panic!("{message:?}") };
        let text = String::from_utf8_lossy(&bytes[3..]).into_owned();
        match &bytes[..3] {
            [1, 1, 1] => stdout.push_str(&text),
            [2, 2, 2] => stderr.push_str(&text),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((stdout.as_str(), stderr.as_str(), code), ("got:one\nend", "err:two\n", 1000));
    let logs = agent.get(&format!("{path}/logs")).json();
    assert_eq!((&logs["stdout"], &logs["stderr"]), (&json!("got:one\nend"), &json!("err:two\n")));
    assert_eq!(agent.get(&path).json()["exitCode"], 0);
    assert_eq!(agent.post(&format!("{path}/input"), &json!({"data": "x"})).code(), "COMMAND_ALREADY_COMPLETED");
}

#[test]
fn a_shell_that_ends() {
    let agent = session();
    let answer = run(&agent, "echo bye; exit 3");
    assert_eq!((&answer["exitCode"], &answer["output"]), (&json!(3), &json!("bye\n")));
    let answer = agent.post("/process/session/s/exec", &json!({"command": "echo no"}));
    assert_eq!((answer.status, answer.code().as_str()), (410, "SESSION_ENDED"));
    assert_eq!(agent.get("/process/session/s").status, 200);
    assert_eq!(agent.delete("/process/session/s").status, 204);
}

#[test]
fn deletion_takes_everything_along() {
    let agent = session();
    let answer =
        run(&agent, "sleep 1000 & echo $!; setsid sleep 1001 & echo $!; (setsid sh -c 'echo $$; exec sleep 1002' &)");
    let mut pids: Vec<String> = answer["stdout"].as_str().expect("a text").lines().map(str::to_owned).collect();
    let running = run_async(&agent, "sleep 1003", json!({}));
    let queued = run_async(&agent, "echo never", json!({}));
    let follow = |id: &str| agent.websocket(&format!("/process/session/s/command/{id}/logs?follow=true"), "");
    let (mut first, mut second) = (follow(&running), follow(&queued));
    assert_eq!(agent.delete("/process/session/s").status, 204);
    assert_eq!((drain(&mut first).1, drain(&mut second).1), (1000, 1000));
    pids.retain(|pid| !pid.is_empty());
    for pid in &pids {
        wait_for_end(pid);
    }
}

#[test]
fn background_output_belongs_to_its_command() {
    let agent = session();
    let fifo = agent.work().join("go");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fresh path");
    let id = run(&agent, "(read x < go; echo late) & echo early")["cmdId"].as_str().expect("an id").to_owned();
    assert_eq!(run(&agent, "echo other")["output"], "other\n");
    assert_eq!(run(&agent, "echo > go; wait")["output"], "");
    let path = format!("/process/session/s/command/{id}/logs");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while agent.get(&path).json()["output"] != "early\nlate\n" {
        assert!(std::time::Instant::now() < deadline, "{}", agent.get(&path).text());
    }
}

#[test]
fn the_entrypoint_is_a_session() {
    let entrypoint = ["sh", "-c", "echo out; echo err >&2; echo $FROM_CONFIG; exit 5"].map(str::to_owned);
    let agent = Agent::with(|config| config.entrypoint = entrypoint.to_vec());
    let mut socket = agent.websocket("/process/session/entrypoint/logs?follow=true", "");
    assert_eq!(drain(&mut socket).1, 1000);
    let session = agent.get("/process/session/entrypoint").json();
    assert_eq!(session["sessionId"], "entrypoint");
    assert_eq!(session["commands"][0]["exitCode"], 5);
    let logs = agent.get("/process/session/entrypoint/logs").json();
    assert_eq!((&logs["stdout"], &logs["stderr"]), (&json!("out\nyes\n"), &json!("err\n")));
    assert_eq!(agent.get("/process/session").json(), json!([]));
    assert_eq!(agent.delete("/process/session/entrypoint").status, 400);
    let plain = Agent::new();
    assert_eq!(plain.get("/process/session/entrypoint").json()["commands"], json!([]));
    assert_eq!(plain.get("/process/session/entrypoint/logs").json()["output"], "");
}

#[test]
fn long_output_is_bounded_and_says_so() {
    let agent = session();
    let answer = run(&agent, "head -c 30000000 /dev/zero | tr '\\0' z");
    let output = answer["output"].as_str().expect("a text");
    assert!(output.len() < 9_000_000 && output.contains("earlier bytes of output are not kept"));
    assert_eq!(answer["exitCode"], 0);
}
