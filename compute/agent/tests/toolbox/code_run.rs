//! `POST /process/code-run`, as far as the machine has the interpreters.

use serde_json::{Value, json};

use crate::agent::Agent;

fn run(agent: &Agent, body: &Value) -> (i64, String) {
    let answer = agent.post("/process/code-run", body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert!(answer["artifacts"]["charts"].is_array());
    (answer["exitCode"].as_i64().expect("a code"), answer["result"].as_str().expect("a text").to_owned())
}

#[test]
fn python() {
    let agent = Agent::new();
    let code =
        "import sys, os\nprint(sys.argv[1:], os.environ['E'])\nprint('err', file=sys.stderr)\nraise SystemExit(4)";
    let body = json!({"language": "python", "code": code, "argv": ["a b", "", "--c"], "envs": {"E": "1"}});
    assert_eq!(run(&agent, &body), (4, "['a b', '', '--c'] 1\nerr\n".into()));
    std::fs::write(agent.work().join("mine.py"), "answer = 42").expect("a fresh file");
    assert_eq!(
        run(&agent, &json!({"language": "python", "code": "import mine; print(mine.answer)"})),
        (0, "42\n".into())
    );
    let (code, text) = run(&agent, &json!({"language": "python", "code": "def f():\n  raise ValueError('bad')\nf()"}));
    assert_eq!(code, 1);
    assert!(text.starts_with("Traceback") && text.ends_with("ValueError: bad\n"), "{text}");
}

#[test]
fn python_below_the_driver() {
    let agent = Agent::new();
    // Long code goes through the same driver as code that draws.
    let filler = "# matplotlib\n".repeat(20_000);
    let code = format!("{filler}import sys\nprint(__name__, sys.argv[1:], repr(sys.stdin.read()), sorted(globals()))");
    let (exit, text) = run(&agent, &json!({"language": "python", "code": code, "argv": ["x"]}));
    assert_eq!(exit, 0, "{text}");
    assert!(text.starts_with("__main__ ['x'] ''") && !text.contains("sebring"), "{text}");
    let code = format!("{filler}def f():\n  raise ValueError('bad')\nf()");
    let (exit, text) = run(&agent, &json!({"language": "python", "code": code}));
    assert_eq!(exit, 1);
    let expected = "Traceback (most recent call last):\n  File \"<string>\", line 20003, in <module>\n    f()\n";
    assert!(text.starts_with(expected), "{text}");
    let (exit, text) = run(&agent, &json!({"language": "python", "code": "# matplotlib\ndef"}));
    assert!(exit == 1 && text.contains("SyntaxError") && !text.contains("sebring"), "{text}");
}

#[test]
fn unknown_languages_and_no_code() {
    let agent = Agent::new();
    for body in [json!({"language": "cobol", "code": "x"}), json!({"language": "python", "code": " "})] {
        assert_eq!(agent.post("/process/code-run", &body).code(), "BAD_REQUEST");
    }
    let body = json!({"language": "python", "code": "print(1)", "envs": {"PATH": "/nowhere"}});
    let answer = agent.post("/process/code-run", &body);
    assert_eq!((answer.status, answer.code().as_str()), (400, "BAD_REQUEST"));
    let body = json!({"language": "python", "code": "while True: pass", "timeout": 1});
    assert_eq!(agent.post("/process/code-run", &body).code(), "PROCESS_EXECUTION_TIMEOUT");
}
