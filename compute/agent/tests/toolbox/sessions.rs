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
    assert_eq!(answer.status, 200, "{command}: {}", answer.text());
    answer.json()
}

fn run_async(agent: &Agent, command: &str, extra: Value) -> String {
    let mut body = json!({"command": command, "runAsync": true});
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    let answer = agent.post("/process/session/s/exec", &body);
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["cmdId"].as_str().expect("an id").to_owned()
}

/// In a fresh session of each kind of shell.
fn in_each_shell(check: impl Fn(&Agent, &str)) {
    for shell in ["bash", "zsh", "dash"] {
        let agent = Agent::with_shell(shell, |_| {});
        open(&agent);
        check(&agent, shell);
    }
}

fn open(agent: &Agent) {
    assert_eq!(agent.post("/process/session", &json!({"sessionId": "s"})).status, 201);
}

/// The session of the same agent, anew.
fn reopen(agent: &Agent) {
    assert_eq!(agent.delete("/process/session/s").status, 204);
    open(agent);
}

/// Its standard output and exit code.
fn outcome(agent: &Agent, command: &str) -> (String, i64) {
    let answer = run(agent, command);
    let text = answer["stdout"].as_str().expect("a text").to_owned();
    (text, answer["exitCode"].as_i64().expect("a number"))
}

fn assert_ended(agent: &Agent, how: &str) {
    let answer = agent.post("/process/session/s/exec", &json!({"command": "echo no"}));
    assert_eq!((answer.status, answer.code().as_str()), (410, "SESSION_ENDED"));
    assert!(answer.text().contains(how), "{}", answer.text());
}

#[test]
fn commands_that_are_waited_for_have_no_input() {
    in_each_shell(|agent, shell| {
        assert_eq!(outcome(agent, "cat; read x; echo $?; python3 -"), ("1\n".into(), 0), "{shell}");
        assert_eq!(outcome(agent, "exec 0<&-; echo on"), ("on\n".into(), 0), "{shell}");
    });
}

#[test]
fn a_command_ends_with_its_text() {
    in_each_shell(|agent, shell| {
        assert_eq!(outcome(agent, "echo x \\"), ("x\n".into(), 0), "{shell}");
        for half in ["if", "echo 'open", "f() {", "echo $("] {
            assert_ne!(outcome(agent, half).1, 0, "{shell}: {half}");
        }
        assert_eq!(outcome(agent, "cat <<E\nopen"), ("open\n".into(), 0), "{shell}");
        assert_eq!(outcome(agent, "echo a; return 3; echo b"), ("a\n".into(), 3), "{shell}");
        assert_eq!(outcome(agent, "echo $?"), ("3\n".into(), 0), "{shell}");
        assert_eq!(outcome(agent, "# nothing"), (String::new(), 0), "{shell}");
    });
}

#[test]
fn names_of_builtins_can_be_taken() {
    const NAMES: [&str; 20] = [
        "command", "eval", "builtin", "trap", "exec", "test", "[", "printf", "read", "set", "exit", "return", "source",
        "shift", "type", "cd", "times", "unset", "true", ":",
    ];
    /// Names that dash lets no function have.
    const SPECIAL: [&str; 11] = ["[", "eval", "trap", "exec", "set", "exit", "return", "shift", "times", "unset", ":"];
    in_each_shell(|agent, shell| {
        for name in NAMES {
            if shell == "dash" && SPECIAL.contains(&name) {
                continue;
            }
            run(agent, &format!("{name}() {{ echo taken; return 9; }}"));
            run(agent, &format!("shopt -s expand_aliases; alias {name}='echo alias'"));
        }
        assert_eq!(outcome(agent, "/bin/echo on; /bin/false"), ("on\n".into(), 1), "{shell}");
        reopen(agent);
        run(agent, "alias return='echo alias' case='echo alias'; shopt -s expand_aliases");
        run(agent, "set -e");
        for name in ["command", "source", "builtin", "."] {
            if shell != "dash" || name != "." {
                run(agent, &format!("{name}() {{ echo taken; return 9; }}"));
                assert_eq!(outcome(agent, "/bin/echo on"), ("on\n".into(), 0), "{shell}: {name}");
            }
        }
    });
}

#[test]
fn what_a_command_sets_does_not_break_the_session() {
    let settings = [
        "PATH=/nowhere",
        "IFS=x",
        "set -f",
        "set -C",
        "set -u",
        "umask 777",
        "exec 1>&-",
        "exec 2>&-",
        "exec >/dev/null 2>&1",
        "trap '' EXIT",
        "trap '' INT TERM PIPE",
        "unset -f command eval",
        "set -x",
        "set -v",
        "PS4='$(echo traced)'; set -x",
        "readonly _",
        "shopt -s extdebug; trap : DEBUG",
        "set -o posix",
        "export POSIXLY_CORRECT=1",
        "setopt KSH_ARRAYS SH_WORD_SPLIT",
        "ulimit -f 0",
        "cd /; rm -rf /dev/shm/.sebring-$PPID-* /tmp/.sebring-$PPID-*",
    ];
    in_each_shell(|agent, shell| {
        for setting in settings {
            // Not each shell knows each of them, and dash ends at an unknown option.
            let known = agent.post("/process/session/s/exec", &json!({ "command": setting })).json();
            if shell == "dash" && known["exitCode"] == 2 {
                reopen(agent);
                continue;
            }
            assert_eq!(outcome(agent, "/bin/echo on; /bin/false"), ("on\n".into(), 1), "{shell}: {setting}");
            let answer = run(agent, "/bin/echo err >&2");
            let stderr = answer["stderr"].as_str().expect("a text");
            let ours = [" . /", ". '/", "_sebring"].iter().any(|ours| stderr.contains(ours));
            assert!(stderr.contains("err\n") && !ours, "{shell}: {setting}: {stderr}");
            assert_eq!(answer["exitCode"], 0, "{shell}: {setting}");
            if setting.starts_with("set -x") {
                assert!(stderr.contains("echo err\n"), "{shell}: {stderr}");
            }
            reopen(agent);
        }
    });
}

#[test]
fn a_failure_under_errexit_ends_the_session() {
    in_each_shell(|agent, shell| {
        let options = if shell == "dash" { "set -eu" } else { "set -euo pipefail" };
        assert_eq!(outcome(agent, options), (String::new(), 0), "{shell}");
        assert_eq!(outcome(agent, "false || echo on"), ("on\n".into(), 0), "{shell}");
        assert_eq!(outcome(agent, "echo before; sh -c 'exit 7'; echo after"), ("before\n".into(), 7), "{shell}");
        assert_ended(agent, "has ended with exit code 7");
    });
}

#[test]
fn a_status_that_errexit_forgives_is_the_commands() {
    in_each_shell(|agent, shell| {
        assert_eq!(outcome(agent, "set -e; false && true"), (String::new(), 1), "{shell}");
        for (command, code) in [
            ("false || true", 0),
            ("if false; then echo no; fi", 0),
            ("while false; do :; done", 0),
            ("! true", 1),
            ("[ -d /nowhere ] && cd /nowhere", 1),
            ("false && echo no # and so on", 1),
            ("cat <<E\nE", 0),
            ("sleep 0 &", 0),
        ] {
            assert_eq!(outcome(agent, command), (String::new(), code), "{shell}: {command}");
        }
        assert_eq!(outcome(agent, "echo x \\"), ("x\n".into(), 0), "{shell}");
        let traced = run(agent, "set -x; false && true");
        assert_eq!((&traced["exitCode"], &traced["stdout"]), (&json!(1), &json!("")), "{shell}");
        assert!(!traced["stderr"].as_str().expect("a text").contains("_sebring"), "{shell}: {traced}");
        assert_eq!(outcome(agent, "false && true; (exit 6)").1, 6, "{shell}");
        assert_ended(agent, "has ended with exit code 6");
    });
}

#[test]
fn a_function_named_command_stands_in_no_ones_way() {
    in_each_shell(|agent, shell| {
        run(agent, "command() { echo taken \"$@\"; return 9; }; set -x");
        for half in ["echo 'open", "if", "f() {"] {
            assert_ne!(outcome(agent, half), (String::new(), 0), "{shell}: {half}");
        }
        let answer = run(agent, "command -v sh");
        assert_eq!((&answer["stdout"], &answer["exitCode"]), (&json!("taken -v sh\n"), &json!(9)), "{shell}");
        assert!(!answer["stderr"].as_str().expect("a text").contains("set -n"), "{shell}: {answer}");
        assert_eq!(outcome(agent, "echo $?; return 3; echo no"), ("9\n".into(), 3), "{shell}");
    });
}

#[test]
fn traps_run_at_the_end() {
    in_each_shell(|agent, shell| {
        run(agent, "trap 'echo bye' EXIT");
        assert_eq!(outcome(agent, "echo on"), ("on\n".into(), 0), "{shell}");
        assert_eq!(outcome(agent, "echo x; exit 4"), ("x\nbye\n".into(), 4), "{shell}");
        assert_ended(agent, "has ended with exit code 4");
        reopen(agent);
        assert_eq!(outcome(agent, "exec sh -c 'echo other; exit 5'"), ("other\n".into(), 5), "{shell}");
        assert_ended(agent, "has ended with exit code 5");
        reopen(agent);
        assert_eq!(outcome(agent, "kill -9 $$").1, 137, "{shell}");
        assert_ended(agent, "has ended with exit code 137");
    });
}

#[test]
fn a_deaf_shell_says_so() {
    in_each_shell(|agent, shell| {
        let answer = run(agent, "set -n");
        assert_eq!(answer["exitCode"], -1, "{shell}");
        assert!(
            answer["stderr"].as_str().is_some_and(|text| text.contains("does not run commands any more")),
            "{shell}"
        );
        assert_ended(agent, "does not run commands any more");
    });
    let agent = Agent::with_shell("bash", |_| {});
    open(&agent);
    assert_eq!(outcome(&agent, "shopt -s extdebug; trap false DEBUG").1, -1);
    assert_ended(&agent, "does not run commands any more");
}

#[test]
fn start_files_are_read_once_and_are_not_heard() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let file = directory.path().join("env");
    std::fs::write(&file, "echo noise; echo noise >&2; greeting=hello; command() { echo taken; }\n")
        .expect("a fresh file");
    std::fs::copy(&file, directory.path().join(".zshenv")).expect("a fresh file");
    for (shell, name, value) in [("bash", "BASH_ENV", file.as_path()), ("zsh", "ZDOTDIR", directory.path())] {
        let agent = Agent::with_shell(shell, |config| {
            config.env.insert(name.to_owned(), value.to_string_lossy().into_owned());
        });
        open(&agent);
        let answer = run(&agent, "echo $greeting");
        assert_eq!((&answer["output"], &answer["exitCode"]), (&json!("hello\n"), &json!(0)), "{shell}");
    }
}

#[test]
fn background_programs_outlive_their_command() {
    in_each_shell(|agent, shell| {
        let done = agent.work().join("done");
        let command = "(read x < /proc/self/fd/3; seq 1 100000; echo $? > done) 3<go & echo up";
        let fifo = agent.work().join("go");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fresh path");
        let command = command.replace("3<go", "3<>go");
        assert_eq!(outcome(agent, &command), ("up\n".into(), 0), "{shell}");
        assert_eq!(outcome(agent, "echo > go; wait; cat done"), ("0\n".into(), 0), "{shell}");
        assert!(done.exists());
    });
}

#[test]
fn long_commands_are_read_at_once() {
    in_each_shell(|agent, shell| {
        let word = "x".repeat(1_000_000);
        let began = std::time::Instant::now();
        assert_eq!(outcome(agent, &format!("a={word}; echo ${{#a}}")), ("1000000\n".into(), 0), "{shell}");
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{shell}: {:?}", began.elapsed());
    });
}

#[test]
fn the_number_of_sessions_is_bounded() {
    let agent = Agent::with_shell("dash", |_| {});
    for number in 0..256 {
        assert_eq!(agent.post("/process/session", &json!({"sessionId": number.to_string()})).status, 201);
    }
    let answer = agent.post("/process/session", &json!({"sessionId": "more"}));
    assert_eq!((answer.status, answer.code().as_str()), (409, "CONFLICT"));
    assert_eq!(agent.delete("/process/session/7").status, 204);
    assert_eq!(agent.post("/process/session", &json!({"sessionId": "more"})).status, 201);
}

#[test]
fn the_first_look_finds_short_commands_done() {
    let agent = session();
    run(&agent, "true");
    // On a machine with much else to do, not each of them.
    assert!((0..20).any(|_| {
        let id = run_async(&agent, "true", json!({}));
        agent.get(&format!("/process/session/s/command/{id}")).json()["exitCode"] == 0
    }));
    let id = run_async(&agent, "sleep 1000", json!({}));
    let began = std::time::Instant::now();
    for _ in 0..10 {
        assert_eq!(agent.get(&format!("/process/session/s/command/{id}")).json().get("exitCode"), None);
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(2));
}

#[test]
fn old_clients_take_output_apart_themselves() {
    let agent = session();
    let body = json!({"command": "echo out; echo err >&2"}).to_string();
    let id = run(&agent, "echo out; sleep 0.1; echo err >&2")["cmdId"].as_str().expect("an id").to_owned();
    let path = format!("/process/session/s/command/{id}/logs");
    for version in ["0.113.1", "0.161.0"] {
        let headers = format!("Accept: text/plain\r\nX-Daytona-SDK-Version: {version}\r\n");
        let answer = agent.send("GET", &path, &headers, b"");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.body, b"\x01\x01\x01out\n\x02\x02\x02err\n");
        let answer = agent.send("POST", "/process/session/s/exec", &headers, body.as_bytes());
        assert!(answer.json()["output"].as_str().is_some_and(|text| text.contains("\x01\x01\x01out\n")));
    }
    // The oldest ones know one text only, and follow it by a plain request.
    let headers = "X-Daytona-SDK-Version: 0.26.0\r\n";
    assert_eq!(agent.send("GET", &path, headers, b"").body, b"out\nerr\n");
    let answer = agent.send("POST", "/process/session/s/exec", headers, body.as_bytes()).json();
    assert!(answer["output"].as_str().is_some_and(|text| !text.contains('\x01')), "{answer}");
    let id = run_async(&agent, "echo out; sleep 0.2; echo err >&2", json!({}));
    let followed = agent.send("GET", &format!("/process/session/s/command/{id}/logs?follow=true"), headers, b"");
    assert_eq!((followed.status, followed.body), (200, b"out\nerr\n".to_vec()));
    for headers in ["", "X-Daytona-SDK-Version: 0.167.0\r\n", "X-Daytona-SDK-Version: odd\r\n"] {
        assert_eq!(agent.send("GET", &path, headers, b"").json()["output"], "out\nerr\n");
    }
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
    for id in ["", "entrypoint", ".", "..", "a/b", "a\\b", "a\nb", &"x".repeat(300)] {
        assert_eq!(agent.post("/process/session", &json!({"sessionId": id})).status, 400, "{id}");
        if id != "entrypoint" {
            assert_eq!(agent.post("/process/pty", &json!({"id": id, "lazyStart": true})).status, 400, "{id}");
        }
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
fn characters_stay_whole_beside_errors() {
    let agent = session();
    // The first two bytes of a character, a line of the other stream, the third byte.
    let answer = run(&agent, r"printf '\346\274'; sleep 0.1; echo err >&2; sleep 0.1; printf '\242\n'");
    assert_eq!((&answer["stdout"], &answer["stderr"]), (&json!("漢\n"), &json!("err\n")));
    assert_eq!(answer["output"], "err\n漢\n");
}

#[test]
fn long_output_is_bounded_and_says_so() {
    let agent = session();
    let answer = run(&agent, "head -c 30000000 /dev/zero | tr '\\0' z");
    let output = answer["output"].as_str().expect("a text");
    assert!(output.len() < 9_000_000 && output.contains("earlier bytes of output are not kept"));
    assert!(answer["stdout"].as_str().is_some_and(|text| text.starts_with('[')), "clients read this one");
    assert_eq!(answer["stderr"], "");
    assert_eq!(answer["exitCode"], 0);
}
