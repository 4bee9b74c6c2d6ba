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
fn javascript_waits_wherever_the_language_allows_it() {
    let agent = Agent::new();
    let javascript = |code: &str| run(&agent, &json!({"language": "javascript", "code": code, "argv": ["a", "--b"]}));
    std::fs::write(agent.work().join("mine.mjs"), "export default 'mine'").expect("a fresh file");
    let long = format!("//{}\nif (true) {{ console.log(await 1) }}", "x".repeat(200_000));
    for (code, output) in [
        ("try { console.log(await 1) } catch {}", "1\n"),
        ("if (true) {\n  await 0; console.log(process.argv.slice(2)) }", "[ 'a', '--b' ]\n"),
        ("const f = async () => await 2; console.log(await f())", "2\n"),
        ("const fs = require('fs'); console.log(typeof fs.statSync, await 3)", "function 3\n"),
        ("await (async () => console.log('called'))()", "called\n"),
        ("import { join } from 'path'; console.log(join('a', 'b'), await 4, typeof require('os'))", "a/b 4 object\n"),
        ("import mine from './mine.mjs'; export const x = mine; console.log(x, await 5)", "mine 5\n"),
        ("for await (const x of [1, 2]) console.log(x)", "1\n2\n"),
        ("console.log((await import('./mine.mjs')).default)", "mine\n"),
        ("console.log(require('fs').readFileSync(0, 'utf8') === '', await 6)", "true 6\n"),
        ("async function f() { return await 7 }\nf().then(console.log)", "7\n"),
        ("console.log('no waiting')", "no waiting\n"),
        (&long, "1\n"),
    ] {
        assert_eq!(javascript(code), (0, output.into()), "{}", &code[code.len().saturating_sub(90)..]);
    }
    let (exit, text) = javascript("let x = 1;\nawait 0;\nthrow new Error('bad')");
    assert!(exit == 1 && text.contains("Error: bad\n    at [eval]:3:7"), "{text}");
    let (exit, text) = javascript("await 0; const x = ;");
    assert!(exit == 1 && text.contains("SyntaxError"), "{text}");
    assert_eq!(javascript("await 0; process.exit(3)"), (3, String::new()));
    let (exit, text) = javascript("await new Promise(() => {})");
    assert!(exit == 13 && text.contains("unsettled top-level await"), "{text}");
}

#[test]
fn background_programs_outlive_the_code() {
    let agent = Agent::new();
    let began = std::time::Instant::now();
    let code = "import subprocess; subprocess.Popen(['sleep', '1000']); print('up')";
    assert_eq!(run(&agent, &json!({"language": "python", "code": code})), (0, "up\n".into()));
    assert!(began.elapsed() < std::time::Duration::from_secs(10));
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
