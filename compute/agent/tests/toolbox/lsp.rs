//! Language servers: a scripted one in place of the real ones, which `tests/python/test_lsp.py` drives.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::agent::{Agent, Answer, runs};

const SCRIPT: &str = include_str!("language_server.py");

/// An agent whose `PATH` has the scripted server under the names of the real ones.
fn agent() -> Agent {
    let agent = Agent::with(|config| {
        let programs = Path::new(config.work_dir.as_deref().expect("set by the tests")).with_file_name("programs");
        fs::create_dir(&programs).expect("made");
        for name in ["pylsp", "typescript-language-server"] {
            let path = programs.join(name);
            fs::write(&path, SCRIPT).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permitted");
        }
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a PATH"));
        config.env.insert("PATH".to_owned(), path);
    });
    fs::create_dir(agent.work().join("my project")).expect("made");
    agent
}

fn call(agent: &Agent, route: &str, language: &str, uri: &str, more: Value) -> Answer {
    let mut body = json!({"languageId": language, "pathToProject": "my project"});
    if !matches!(route, "start" | "stop") {
        body["uri"] = uri.into();
    }
    body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    agent.post(&format!("/lsp/{route}"), &body)
}

fn symbols(agent: &Agent, language: &str, uri: &str) -> Answer {
    let uri = uri.replace(' ', "%20");
    agent.get(&format!("/lsp/document-symbols?languageId={language}&pathToProject=my+project&uri={uri}"))
}

fn names(answer: &Answer) -> Vec<String> {
    let answer = answer.json();
    let symbols = answer.as_array().unwrap_or_else(|| panic!("{answer}"));
    symbols.iter().map(|symbol| symbol["name"].as_str().expect("a name").to_owned()).collect()
}

fn complete(agent: &Agent, language: &str, uri: &str) -> Answer {
    let context = json!({"triggerKind": 2, "triggerCharacter": "."});
    call(agent, "completions", language, uri, json!({"position": {"line": 3, "character": 1}, "context": context}))
}

#[test]
fn documents_are_told_as_they_are() {
    let agent = agent();
    let path = agent.work().join("my project/a b.py");
    fs::write(&path, "one").expect("written");
    assert_eq!(call(&agent, "start", "python", "", json!({})).status, 200);
    assert_eq!(call(&agent, "start", "python", "", json!({})).status, 200);
    let relative = "file://my project/a b.py";
    let opened = call(&agent, "did-open", "python", relative, json!({}));
    assert_eq!((opened.status, opened.body.len()), (200, 0), "{}", opened.text());
    let answer = symbols(&agent, "python", relative);
    assert_eq!(names(&answer), ["root", "one", "2 settings"]);
    let uri = format!("file://{}", path.to_str().expect("UTF-8").replace(' ', "%20"));
    assert_eq!(answer.json()[1]["location"]["uri"], uri);
    assert_eq!(answer.json()[1]["location"]["range"]["start"], json!({"line": 1, "character": 2}));

    fs::write(&path, "two three").expect("written");
    assert_eq!(call(&agent, "did-open", "python", "file://a b.py", json!({})).status, 200, "below the project");
    assert_eq!(names(&symbols(&agent, "python", &uri)), ["root", "two", "three", "2 settings"]);
    let found = complete(&agent, "python", relative).json();
    let item = json!({"label": "3:.", "documentation": {"kind": "plaintext", "value": "plain"}});
    assert_eq!(found, json!({"isIncomplete": false, "items": [item]}));
    fs::remove_file(&path).expect("removed");
    for _ in 0..2 {
        assert_eq!(call(&agent, "did-close", "python", relative, json!({})).status, 200);
    }
    assert_eq!(names(&symbols(&agent, "python", relative)), ["root", "2 settings"]);
    assert_eq!(call(&agent, "did-open", "python", "file://missing.py", json!({})).code(), "FILE_NOT_FOUND");
}

#[test]
fn symbols_of_the_workspace() {
    let agent = agent();
    for language in ["python", "typescript"] {
        assert_eq!(call(&agent, "start", language, "", json!({})).status, 200);
    }
    let ask = |language: &str| {
        agent.get(&format!("/lsp/workspacesymbols?query=NEED&languageId={language}&pathToProject=my%20project"))
    };
    assert_eq!(ask("python").json(), json!([]));
    let project = agent.work().join("my project");
    for name in ["a.py", "in/needles.py", "in/b.py", "in/b.txt", ".venv/c.py", "node_modules/d.py"] {
        fs::create_dir_all(project.join(name).parent().expect("below the project")).expect("made");
        fs::write(project.join(name), if name == "in/b.py" { "hay" } else { "hay Needle" }).expect("written");
    }
    let found = ask("python");
    assert_eq!(names(&found), ["Needle", "Needle"]);
    let last = found.json()[1]["location"]["uri"].as_str().expect("a text").to_owned();
    assert!(last.ends_with("/my%20project/in/needles.py"), "{last}");
    assert_eq!(ask("typescript").json(), json!([]), "nothing to find it in");
    fs::write(project.join("e.ts"), "const needle = 1").expect("written");
    for _ in 0..2 {
        let found = ask("typescript");
        assert_eq!(names(&found).len(), 1, "{}: nothing stays open", found.text());
        assert!(names(&found)[0].ends_with("/e.ts"));
    }
}

#[test]
fn a_dead_server_can_be_started_again() {
    let agent = agent();
    fs::write(agent.work().join("my project/a.py"), "die").expect("written");
    for _ in 0..2 {
        assert_eq!(call(&agent, "start", "python", "", json!({})).status, 200);
        assert_eq!(call(&agent, "did-open", "python", "file://a.py", json!({})).status, 200);
        let died = complete(&agent, "python", "file://a.py");
        assert_eq!(died.status, 500);
        assert!(died.text().contains("exit code 3") && died.text().contains("out of words"), "{}", died.text());
        let later = symbols(&agent, "python", "file://a.py");
        assert_eq!(later.code(), "LSP_SERVER_NOT_INITIALIZED");
        assert!(later.text().contains("exit code 3") && later.text().contains("/lsp/start"), "{}", later.text());
    }
    assert_eq!(call(&agent, "stop", "python", "", json!({})).status, 200);
}

#[test]
fn stopping_leaves_nothing_behind() {
    let agent = agent();
    let servers = || {
        let (_, found) = agent.execute("pgrep -P $PPID -f language-server; pgrep -x sleep");
        found.lines().map(str::to_owned).filter(|pid| child_of(pid, agent.child.id())).collect::<Vec<_>>()
    };
    assert_eq!(call(&agent, "start", "javascript", "", json!({})).status, 200);
    let running = servers();
    assert!(running.len() >= 2, "{running:?}");
    assert_eq!(call(&agent, "stop", "javascript", "", json!({})).status, 200);
    assert!(!running.iter().any(|pid| runs(pid)), "{running:?}");
    assert_eq!(call(&agent, "stop", "javascript", "", json!({})).code(), "LSP_SERVER_NOT_INITIALIZED");
}

/// Whether the process is below this agent, for other tests have such processes too.
fn child_of(pid: &str, agent: u32) -> bool {
    let parent = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(") ").next()?.split(' ').nth(1).map(str::to_owned)
    };
    std::iter::successors(Some(pid.to_owned()), |pid| parent(pid)).any(|pid| pid == agent.to_string())
}

#[test]
fn refusals() {
    let agent = agent();
    for route in ["did-open", "did-close", "stop"] {
        let answer = call(&agent, route, "python", "file://a.py", json!({}));
        assert_eq!((answer.status, answer.code().as_str()), (400, "LSP_SERVER_NOT_INITIALIZED"), "{route}");
    }
    assert_eq!(complete(&agent, "python", "file://a.py").code(), "LSP_SERVER_NOT_INITIALIZED");
    assert_eq!(symbols(&agent, "python", "file://a.py").code(), "LSP_SERVER_NOT_INITIALIZED");
    assert_eq!(call(&agent, "start", "cobol", "", json!({})).code(), "BAD_REQUEST");
    assert_eq!(agent.post("/lsp/start", &json!({"languageId": "python"})).code(), "INVALID_REQUEST_BODY");
    let elsewhere = agent.post("/lsp/start", &json!({"languageId": "python", "pathToProject": "missing"}));
    assert_eq!(elsewhere.code(), "FILE_NOT_FOUND");
    assert_eq!(call(&agent, "start", "python", "", json!({})).status, 200);
    for uri in ["", "https://example.org/a.py"] {
        assert_eq!(call(&agent, "did-open", "python", uri, json!({})).code(), "BAD_REQUEST", "{uri}");
    }
}

#[test]
fn a_missing_program_is_named() {
    let agent = Agent::with(|config| {
        config.env.insert("PATH".to_owned(), "/nowhere".to_owned());
    });
    for (language, package) in [("python", "python-lsp-server"), ("typescript", "npm install -g")] {
        let answer = agent.post("/lsp/start", &json!({"languageId": language, "pathToProject": "/tmp"}));
        assert_eq!(answer.code(), "BAD_REQUEST");
        assert!(answer.text().contains(package), "{}", answer.text());
    }
}
