//! `POST /process/execute` and `POST /env`.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::agent::{Agent, runs};

#[test]
fn output_exit_code_and_place() {
    let agent = Agent::new();
    assert_eq!(agent.execute("echo out; echo err >&2; exit 3"), (3, "out\nerr\n".into()));
    assert_eq!(agent.execute("kill -9 $$").0, 137);
    assert_eq!(agent.execute("pwd"), (0, format!("{}\n", agent.work().display())));
    assert_eq!(agent.execute("cat; echo end"), (0, "end\n".into()), "standard input is empty");
    assert_eq!(agent.execute("printf '\\377a'"), (0, "\u{fffd}a".into()));
    std::fs::create_dir(agent.work().join("sub dir")).expect("a fresh directory");
    let answer = agent.post("/process/execute", &json!({"command": "basename \"$PWD\"", "cwd": "sub dir"}));
    assert_eq!(answer.json(), json!({"exitCode": 0, "result": "sub dir\n"}));
}

#[test]
fn environment_in_layers() {
    let agent = Agent::new();
    let run = |command: &str| {
        agent
            .post("/process/execute", &json!({"command": command, "envs": {"MINE": "a b", "HOME": "/elsewhere"}}))
            .json()
    };
    assert_eq!(run("echo $FROM_CONFIG $MINE $HOME $LANG")["result"], "yes a b /elsewhere C.UTF-8\n");
    let answer = agent.post("/env", &json!({"set": {"LATER": "1"}, "unset": ["FROM_CONFIG"]}));
    assert_eq!(answer.status, 200);
    assert_eq!(run("echo \"[$FROM_CONFIG]\" $LATER")["result"], "[] 1\n");
    let answer = agent.post("/process/execute", &json!({"command": "true", "envs": {"NOT-A-NAME": ""}}));
    assert_eq!((answer.status, answer.code().as_str()), (400, "BAD_REQUEST"));
    assert_eq!(agent.post("/env", &json!({"set": {"1": "x"}})).status, 400);
}

#[test]
fn bad_requests() {
    let agent = Agent::new();
    for body in [json!({"command": " "}), json!({"command": "true", "timeout": -1}), json!({"command": "a\u{0}b"})] {
        let answer = agent.post("/process/execute", &body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "BAD_REQUEST"), "{body}");
    }
    for body in [&b"{\"command\":"[..], b"{}", b"[]", b"{\"command\": 1}", b""] {
        let answer = agent.send("POST", "/process/execute", "", body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "INVALID_REQUEST_BODY"));
    }
    let answer = agent.post("/process/execute", &json!({"command": "true", "cwd": "/no/such/place"}));
    assert_eq!((answer.status, answer.json()["exitCode"].as_i64()), (200, Some(-1)));
    assert!(answer.json()["result"].as_str().is_some_and(|text| text.contains("/no/such/place")));
}

#[test]
fn a_timeout_kills_everything_below_the_command() {
    let agent = Agent::new();
    let pids = agent.work().join("pids");
    let command = format!(
        "sleep 1000 & echo $! >> {0}; setsid sh -c 'echo $$ >> {0}; exec sleep 1001' & \
         (setsid sh -c 'sleep 1002 & echo $! >> {0}; wait' &) ; sleep 1003",
        pids.display()
    );
    let began = Instant::now();
    let answer = agent.post("/process/execute", &json!({"command": command, "timeout": 1}));
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!((answer.status, answer.code().as_str()), (408, "PROCESS_EXECUTION_TIMEOUT"));
    assert!(answer.json()["message"].as_str().is_some_and(|message| message.contains("timeout")));
    let pids = std::fs::read_to_string(pids).expect("they were started");
    assert_eq!(pids.lines().count(), 3, "{pids}");
    for pid in pids.lines() {
        wait_for_end(pid);
    }
}

#[test]
fn a_caller_that_hangs_up_ends_its_command() {
    let agent = Agent::new();
    let pid_file = agent.work().join("pid");
    let body = json!({"command": format!("echo $$ > {0}.tmp; mv {0}.tmp {0}; exec sleep 1000", pid_file.display())})
        .to_string();
    let mut stream = agent.connect();
    write!(stream, "POST /process/execute HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .expect("written");
    let deadline = Instant::now() + Duration::from_secs(5);
    while !pid_file.exists() {
        assert!(Instant::now() < deadline, "the command does not start");
        std::thread::yield_now();
    }
    let pid = std::fs::read_to_string(pid_file).expect("just seen");
    assert!(runs(&pid));
    drop(stream);
    wait_for_end(&pid);
}

#[test]
fn long_commands_and_long_output() {
    let agent = Agent::new();
    let command = format!("cat <<'END' | wc -c\n{}\nEND", "x".repeat(300_000));
    assert_eq!(agent.execute(&command), (0, "300001\n".into()));
    let (code, output) = agent.execute("head -c 20000000 /dev/zero | tr '\\0' y");
    assert_eq!(code, 0);
    assert!(output.starts_with("yyy") && output.len() < 17_000_000);
    assert!(output.ends_with("write long output to a file and download it]\n"), "{}", &output[output.len() - 100..]);
}

#[test]
fn many_at_once() {
    let agent = Agent::new();
    std::thread::scope(|scope| {
        for number in 0..16 {
            let agent = &agent;
            scope.spawn(move || {
                for round in 0..10 {
                    assert_eq!(agent.execute(&format!("echo {number}.{round}")).1, format!("{number}.{round}\n"));
                }
            });
        }
    });
}

/// A killed process takes a moment to die.
pub fn wait_for_end(pid: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while runs(pid) {
        assert!(Instant::now() < deadline, "process {pid} lives on");
        std::thread::yield_now();
    }
}

#[test]
fn commands_may_look_like_options() {
    for shell in ["bash", "zsh", "dash"] {
        let agent = Agent::with_shell(shell, |_| {});
        for command in ["+O", "-c id", "--", "--help", "-x", "+x ls"] {
            let (code, text) = agent.execute(command);
            assert_eq!(code, 127, "{shell}: {command}: {text}");
        }
    }
}

#[test]
fn background_programs_outlive_their_command() {
    for shell in ["bash", "zsh", "dash"] {
        let agent = Agent::with_shell(shell, |_| {});
        let go = agent.work().join("go");
        nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).expect("a fresh path");
        let began = Instant::now();
        let command = "(read x <go; seq 1 100000; echo $? > done) & sleep 1000 &\necho up";
        let answer = agent.post("/process/execute", &json!({"command": command, "timeout": 20})).json();
        assert_eq!(answer, json!({"exitCode": 0, "result": "up\n"}), "{shell}");
        // Output that nobody reads neither stops nor kills the writer.
        let (code, text) = agent
            .execute("echo > go; while ! [ -s done ]; do sleep 0.01; done; cat done; pgrep -f 'sleep 1000' >/dev/null");
        assert_eq!((code, text.as_str()), (0, "0\n"), "{shell}");
        assert!(began.elapsed() < Duration::from_secs(10), "{shell}: {:?}", began.elapsed());
        let flood = agent.execute("yes & echo on");
        assert_eq!(flood.0, 0);
        assert!(flood.1.contains("on\n"));
    }
}
