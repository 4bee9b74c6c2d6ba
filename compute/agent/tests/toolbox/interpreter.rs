//! The code interpreter.

use serde_json::{Value, json};
use tungstenite::Message;

use crate::agent::{Agent, drain};

struct Run {
    stdout: String,
    stderr: String,
    error: Option<Value>,
    end: Option<String>,
    code: u16,
}

fn run(agent: &Agent, request: &Value) -> Run {
    let mut socket = agent.websocket("/process/interpreter/execute", "");
    socket.send(Message::text(request.to_string())).expect("an open socket");
    let (messages, code, _) = drain(&mut socket);
    let mut run = Run { stdout: String::new(), stderr: String::new(), error: None, end: None, code };
    for message in messages {
        let frame: Value = serde_json::from_str(message.to_text().expect("a text")).expect("JSON");
        let text = || frame["text"].as_str().filter(|text| !text.is_empty()).expect("a text").to_owned();
        match frame["type"].as_str() {
            Some("stdout") => run.stdout.push_str(&text()),
            Some("stderr") => run.stderr.push_str(&text()),
            Some("error") => run.error = Some(frame),
            Some("control") => run.end = Some(text()),
            other => panic!("{other:?}"),
        }
    }
    run
}

fn python(agent: &Agent, code: &str) -> Run {
    run(agent, &json!({ "code": code }))
}

#[test]
fn state_output_and_the_last_expression() {
    let agent = Agent::new();
    let first = python(&agent, "import sys\nx = 41\nprint('ü')\nprint('e', file=sys.stderr)");
    assert_eq!((first.stdout.as_str(), first.stderr.as_str(), first.error), ("ü\n", "e\n", None));
    assert_eq!((first.end.as_deref(), first.code), (Some("completed"), 1000));
    assert_eq!(python(&agent, "x += 1\nx").stdout, "42\n");
    assert_eq!(python(&agent, "import os\nos.system('echo child')\nNone").stdout, "child\n");
    assert_eq!(python(&agent, "import asyncio\nawait asyncio.sleep(0)\nprint('waited')").stdout, "waited\n");
    let numbers = python(&agent, "for i in range(20000): print(i)").stdout;
    assert!(numbers.lines().enumerate().all(|(index, line)| line == index.to_string()));
}

#[test]
fn errors_leave_the_context_usable() {
    let agent = Agent::new();
    let failed = python(&agent, "def f():\n    raise ValueError('bad')\nf()");
    let error = failed.error.expect("an error");
    assert_eq!((&error["name"], &error["value"]), (&json!("ValueError"), &json!("bad")));
    let traceback = error["traceback"].as_str().expect("a text");
    assert!(traceback.contains("    f()\n") && traceback.contains("line 2, in f"), "{traceback}");
    assert_eq!((failed.end.as_deref(), failed.code), (Some("completed"), 1000));
    for (code, name) in
        [("def (", "SyntaxError"), ("import sys; sys.exit(3)", "SystemExit"), ("input()", "RuntimeError")]
    {
        assert_eq!(python(&agent, code).error.expect("an error")["name"], name);
    }
    assert_eq!(python(&agent, "print(1)").stdout, "1\n");
}

/// Its time ends although its output is stuck, and the next has the context.
#[test]
fn a_client_that_does_not_read_holds_up_nobody_else() {
    let agent = Agent::new();
    let mut stalled = agent.websocket("/process/interpreter/execute", "");
    let loud = "kept = 7\nwhile True: print('x' * 100000)";
    stalled.send(Message::text(json!({"code": loud, "timeout": 1}).to_string())).expect("an open socket");
    // Its beginning: the code runs.
    stalled.read().expect("output");
    assert_eq!(python(&agent, "print(kept)").stdout, "7\n");
}

/// Nobody waits for what its client has not taken.
#[test]
fn code_that_has_ended_makes_room_for_the_next() {
    let agent = Agent::new();
    let mut stalled = agent.websocket("/process/interpreter/execute", "");
    // More than the connection holds, and less than holds the code up.
    let code = "kept = 7\nfor _ in range(35): print('x' * 10000)";
    stalled.send(Message::text(json!({"code": code, "timeout": 0}).to_string())).expect("an open socket");
    stalled.read().expect("output");
    assert_eq!(python(&agent, "print(kept)").stdout, "7\n");
    let (messages, code, _) = drain(&mut stalled);
    let length: usize = messages.iter().map(|message| message.len()).sum();
    assert!(length > 300_000 && code == 1000, "the rest comes when it reads: {length}, {code}");
}

#[test]
fn clients_that_hang_up_leave_the_context_usable() {
    let agent = Agent::new();
    assert_eq!(python(&agent, "kept = 7").code, 1000);
    for code in ["1", "import time; time.sleep(60)", &format!("print({:?})", "x".repeat(1 << 20))].repeat(7) {
        let mut socket = agent.websocket("/process/interpreter/execute", "");
        socket.send(Message::text(json!({"code": code}).to_string())).expect("an open socket");
        drop(socket);
        assert_eq!(python(&agent, "print(kept)").stdout, "7\n", "{code:.20}");
    }
}

/// A process that is stopped takes no code: the time limit counts all the same.
#[test]
fn code_that_is_not_taken_is_overdue() {
    let agent = Agent::new();
    let pid: i32 = python(&agent, "import os\nos.getpid()").stdout.trim().parse().expect("a number");
    // SAFETY: a signal to a process of the agent's, which is ours.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGSTOP) }, 0);
    let long = format!("print({:?})", "x".repeat(1 << 20));
    assert_eq!(run(&agent, &json!({"code": long, "timeout": 1})).code, 4008);
    assert_eq!(python(&agent, "print(1)").stdout, "1\n", "by another process");
}

#[test]
fn time_is_limited() {
    let agent = Agent::new();
    python(&agent, "kept = 7");
    for code in ["while True: pass", "import subprocess; subprocess.run(['sleep', '1000'])"] {
        let late = run(&agent, &json!({"code": code, "timeout": 1}));
        assert_eq!((late.end.as_deref(), late.code), (None, 4008));
        assert_eq!(python(&agent, "print(kept)").stdout, "7\n");
    }
    let stubborn = "import time\nwhile True:\n  try: time.sleep(60)\n  except BaseException: pass";
    assert_eq!(run(&agent, &json!({"code": stubborn, "timeout": 1})).code, 4008);
    assert_eq!(python(&agent, "'kept' in globals()").stdout, "False\n", "the process is another one");
}

#[test]
fn contexts_are_apart() {
    let agent = Agent::new();
    let context = agent.post("/process/interpreter/context", &json!({"cwd": "/tmp"})).json();
    let id = context["id"].as_str().expect("an id");
    assert_eq!(
        (&context["cwd"], &context["language"], &context["active"]),
        (&json!("/tmp"), &json!("python"), &json!(true))
    );
    python(&agent, "secret = 1");
    let other = run(
        &agent,
        &json!({"code": "import os; print(os.getcwd(), os.environ['E'])\nsecret", "contextId": id, "envs": {"E": "1"}}),
    );
    assert_eq!((other.stdout.as_str(), &other.error.expect("an error")["name"]), ("/tmp 1\n", &json!("NameError")));
    assert_eq!(run(&agent, &json!({"code": "print(os.environ.get('E'))", "contextId": id})).stdout, "None\n");
    assert_eq!(agent.get("/process/interpreter/context").json()["contexts"].as_array().map(Vec::len), Some(1));
    assert_eq!(run(&agent, &json!({"code": "os._exit(1)", "contextId": id})).code, 1011);
    assert_eq!(run(&agent, &json!({"code": "1", "contextId": id})).code, 1008);
    assert_eq!(agent.delete(&format!("/process/interpreter/context/{id}")).status, 200);
    assert_eq!(agent.delete(&format!("/process/interpreter/context/{id}")).status, 404);
    assert_eq!(agent.delete("/process/interpreter/context/default").status, 400);
    assert_eq!(agent.post("/process/interpreter/context", &json!({"language": "ruby"})).status, 400);
    assert_eq!(agent.post("/process/interpreter/context", &json!({"cwd": "/no/such"})).status, 400);
}

#[test]
fn exits() {
    let agent = Agent::new();
    for code in ["import sys; sys.exit(0)", "raise SystemExit", "exit()"] {
        let run = python(&agent, code);
        assert_eq!((run.error, run.end.as_deref(), run.code), (None, Some("completed"), 1000), "{code}");
    }
    for (code, value) in [("import sys; sys.exit(3)", "3"), ("raise SystemExit('why')", "why")] {
        let error = python(&agent, code).error.expect("an error");
        assert_eq!((&error["name"], &error["value"]), (&json!("SystemExit"), &json!(value)));
    }
    let dead = python(&agent, "print('last words', flush=True); import os; os._exit(0)");
    assert_eq!((dead.stdout.as_str(), dead.end, dead.code), ("last words\n", None, 1011));
}

#[test]
fn only_the_process_itself_answers() {
    let agent = Agent::new();
    python(&agent, "import os, sys, threading, ctypes, multiprocessing\nv = 0");
    let forks = [
        "pid = os.fork()",
        // Unseen by Python.
        "pid = ctypes.CDLL(None).fork()",
    ];
    for fork in forks {
        let run = python(
            &agent,
            &format!("{fork}\nos.write(1, b'parent\\n' if pid else b'child\\n')\nif pid: os.waitpid(pid, 0)"),
        );
        let mut lines: Vec<_> = run.stdout.lines().collect();
        lines.sort_unstable();
        assert_eq!((lines, run.code), (vec!["child", "parent"], 1000), "{fork}");
    }
    for number in 1..=4 {
        assert_eq!(python(&agent, "v += 1\nprint(v)").stdout, format!("{number}\n"));
    }
    let status = "if os.fork() == 0: sys.exit(7)\nprint(os.waitstatus_to_exitcode(os.wait()[1]))";
    assert_eq!(python(&agent, status).stdout, "7\n");
    let failing = python(&agent, "if os.fork() == 0: 1 / 0\nprint(os.waitstatus_to_exitcode(os.wait()[1]))");
    assert_eq!(failing.stdout, "1\n");
    assert!(failing.stderr.contains("ZeroDivisionError") && failing.error.is_none());
    for descriptor in 3..6 {
        let code = format!("try: os.write({descriptor}, b'0\\n')\nexcept OSError: pass\nprint('on')");
        assert_eq!(python(&agent, &code).stdout, "on\n");
    }
    let code = "def job():\n    try: os.write(4, b'0\\n')\n    except OSError: pass\n\
                t = threading.Thread(target=job); t.start(); t.join()\n\
                p = multiprocessing.get_context('fork').Process(target=job); p.start(); p.join()\nprint(p.exitcode)";
    assert_eq!(python(&agent, code).stdout, "0\n");
    for method in ["spawn", "forkserver"] {
        let code = format!(
            "p = multiprocessing.get_context('{method}').Process(target=print, args=('in {method}',), kwargs=dict(flush=True))\n\
             p.start(); p.join()"
        );
        assert_eq!(python(&agent, &code).stdout, format!("in {method}\n"));
    }
    assert_eq!(python(&agent, "print(v)").stdout, "4\n");
}

#[test]
fn what_goes_on_in_the_background_holds_nothing_up() {
    let agent = Agent::new();
    let code = "import os, subprocess\np = subprocess.Popen(['yes', 'flood'])\n_ = os.write(1, b'on\\n')";
    assert!(python(&agent, code).stdout.contains("on\n"));
    let run = python(&agent, "p.kill(); p.wait(); print('done')");
    assert!(run.stdout.ends_with("done\n") && run.code == 1000);
}

#[test]
fn refusals_close() {
    let agent = Agent::new();
    for (request, code) in [
        (json!({"code": ""}), 1008),
        (json!({"code": "1", "timeout": -1}), 1008),
        (json!({"code": "1", "contextId": "none"}), 1008),
        (json!({"code": "1", "envs": {"A-B": ""}}), 1008),
        (json!(["not an object"]), 1002),
    ] {
        assert_eq!(run(&agent, &request).code, code, "{request}");
    }
}

#[test]
fn a_client_that_hangs_up_ends_its_code() {
    let agent = Agent::new();
    let mut socket = agent.websocket("/process/interpreter/execute", "");
    let code = "kept = 1\nprint('on', flush=True)\nwhile True: pass";
    socket.send(Message::text(json!({"code": code, "timeout": 0}).to_string())).expect("an open socket");
    assert!(socket.read().expect("a message").is_text());
    drop(socket);
    assert_eq!(python(&agent, "print(kept)").stdout, "1\n");
}
