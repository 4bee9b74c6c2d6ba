//! Git, with remotes that are directories and one that is a server of HTTP.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::agent::{Agent, Answer, runs};
use crate::execute::wait_for_end;

/// An agent whose work directory has `origin.git`, with two commits on `main` and one more on `feature`, and the
/// clone `work`.
fn agent() -> Agent {
    let agent = plain();
    sh(
        &agent,
        "git config --global user.name Ada; git config --global user.email ada@example.com
         git config --global init.defaultBranch main
         git init -q --bare origin.git; git init -q seed; cd seed
         echo one > a.txt; git add .; git commit -qm first; echo two > b.txt; git add .; git commit -qm second
         git checkout -qb feature; echo f > f.txt; git add .; git commit -qm feature
         git push -q ../origin.git main feature; cd ..; rm -r seed; git clone -q origin.git work",
    );
    agent
}

fn plain() -> Agent {
    Agent::with(|config| {
        let home = config.work_dir.clone().expect("a work directory");
        config.env.insert("HOME".to_owned(), home);
        config.env.insert("GIT_CONFIG_NOSYSTEM".to_owned(), "1".to_owned());
    })
}

/// Runs a script in the work directory, as a user in the sandbox would.
fn sh(agent: &Agent, script: &str) -> String {
    let answer = agent.post("/process/execute", &json!({"command": format!("set -e; {script}")})).json();
    assert_eq!(answer["exitCode"], 0, "{answer}");
    answer["result"].as_str().expect("a text").to_owned()
}

fn ok(answer: &Answer) {
    assert!(matches!(answer.status, 200 | 201 | 204), "{}", answer.text());
}

fn post(agent: &Agent, operation: &str, body: Value) -> Answer {
    agent.post(&format!("/git/{operation}"), &body)
}

fn files(agent: &Agent, path: &str) -> Value {
    agent.get(&format!("/git/status?path={path}")).json()["fileStatus"].clone()
}

#[test]
fn clone_and_status() {
    let agent = agent();
    ok(&post(&agent, "clone", json!({"url": "origin.git", "path": "deep/down/copy"})));
    let status = agent.get("/git/status?path=deep/down/copy").json();
    assert_eq!(
        status,
        json!({"currentBranch": "main", "detached": false, "upstream": "origin/main", "ahead": 0, "behind": 0,
               "branchPublished": true, "fileStatus": []})
    );
    sh(&agent, "cd work; echo x >> a.txt; git mv b.txt 'c ü.txt'; echo n > new; git add -N new; mkdir d; echo u > d/u");
    let change = |name: &str, staging: &str, worktree: &str, extra: &str| json!({"name": name, "staging": staging, "worktree": worktree, "extra": extra});
    assert_eq!(
        files(&agent, "work"),
        json!([
            change("a.txt", "Unmodified", "Modified", ""),
            change("c ü.txt", "Renamed", "Unmodified", "b.txt"),
            change("new", "Unmodified", "Added", ""),
            change("d/u", "Untracked", "Untracked", ""),
        ])
    );
}

#[test]
fn clone_of_branch_commit_and_depth() {
    let agent = agent();
    let first = sh(&agent, "git -C origin.git rev-list --max-parents=0 main").trim().to_owned();
    ok(&post(&agent, "clone", json!({"url": "origin.git", "path": "b", "branch": "feature"})));
    assert_eq!(sh(&agent, "git -C b branch --show-current"), "feature\n");
    ok(&post(&agent, "clone", json!({"url": "origin.git", "path": "c", "commit_id": first})));
    let status = agent.get("/git/status?path=c").json();
    assert_eq!((&status["currentBranch"], &status["detached"]), (&json!("HEAD"), &json!(true)));
    assert_eq!(sh(&agent, "git -C c rev-parse HEAD; ls c"), format!("{first}\na.txt\n"));
    ok(&post(&agent, "clone", json!({"url": "origin.git", "path": "d", "depth": 1})));
    assert_eq!(sh(&agent, "git -C d rev-list --count HEAD"), "1\n");
    ok(&post(&agent, "clone", json!({"url": "origin.git", "path": "e", "depth": 1, "commit_id": first})));
    assert_eq!(sh(&agent, "git -C e rev-parse HEAD"), format!("{first}\n"));
    assert_eq!(post(&agent, "clone", json!({"url": "origin.git", "path": "f", "depth": 0})).status, 400);
}

#[test]
fn a_failed_clone_leaves_nothing() {
    let agent = agent();
    fs::create_dir(agent.work().join("empty")).expect("a fresh path");
    fs::write(agent.work().join("file"), "x").expect("a file");
    for (body, code) in [
        (json!({"url": "none.git", "path": "new/target"}), "GIT_REPO_NOT_FOUND"),
        (json!({"url": "origin.git", "path": "new/target", "branch": "none"}), "GIT_BRANCH_NOT_FOUND"),
        (json!({"url": "origin.git", "path": "new/target", "commit_id": "0123456789"}), "GIT_BRANCH_NOT_FOUND"),
        (json!({"url": "origin.git", "path": "empty", "commit_id": "f".repeat(40)}), "GIT_BRANCH_NOT_FOUND"),
        (json!({"url": "http://127.0.0.1:1/a.git", "path": "new/target"}), "GIT_TRANSPORT_FAILED"),
        (json!({"url": "origin.git", "path": "work"}), "CONFLICT"),
        (json!({"url": "origin.git", "path": "file"}), "INVALID_FILE_PATH"),
        (json!({"url": "--upload-pack=x", "path": "new/target"}), "BAD_REQUEST"),
        (json!({"url": "origin.git", "path": "new/target", "branch": "--bare"}), "BAD_REQUEST"),
        (json!({"url": "origin.git", "path": ""}), "BAD_REQUEST"),
        (json!({"path": "new/target"}), "INVALID_REQUEST_BODY"),
    ] {
        let answer = post(&agent, "clone", body.clone());
        assert_eq!(answer.code(), code, "{body} {}", answer.text());
    }
    assert!(!agent.work().join("new").exists());
    assert_eq!(fs::read_dir(agent.work().join("empty")).expect("still there").count(), 0);
    assert!(agent.work().join("work/a.txt").exists());
}

#[test]
fn add_commit_push_and_pull() {
    let agent = agent();
    ok(&post(&agent, "clone", json!({"url": "origin.git", "path": "other"})));
    ok(&post(&agent, "branches", json!({"path": "work", "name": "topic"})));
    fs::write(agent.work().join("work/-n ü *.txt"), "n").expect("a file");
    fs::remove_file(agent.work().join("work/b.txt")).expect("a file");
    ok(&post(&agent, "add", json!({"path": "work", "files": ["-n ü *.txt", "b.txt"]})));
    let message = "Say \"hello\"\n\n# with a body\n";
    let commit = json!({"path": "work", "message": message, "author": "Grace", "email": "grace@example.com"});
    let hash = post(&agent, "commit", commit.clone()).json()["hash"].as_str().expect("a hash").to_owned();
    assert_eq!(
        sh(&agent, "git -C work log -1 --format='%H|%an|%ae|%cn|%ce|%B'"),
        format!("{hash}|Grace|grace@example.com|Grace|grace@example.com|{message}\n")
    );
    assert_eq!(files(&agent, "work"), json!([]));
    let refused = post(&agent, "commit", commit.clone());
    assert!(refused.code() == "BAD_REQUEST" && refused.text().contains("nothing to commit"), "{}", refused.text());
    let mut empty = commit;
    empty["allow_empty"] = json!(true);
    ok(&post(&agent, "commit", empty));
    let status = agent.get("/git/status?path=work").json();
    assert_eq!((&status["branchPublished"], &status["upstream"]), (&json!(false), &json!("")));
    ok(&post(&agent, "push", json!({"path": "work", "set_upstream": true})));
    let status = agent.get("/git/status?path=work").json();
    assert_eq!((&status["branchPublished"], &status["upstream"]), (&json!(true), &json!("origin/topic")));
    ok(&post(&agent, "pull", json!({"path": "other", "branch": "topic", "remote": "origin"})));
    assert_eq!(sh(&agent, "cat 'other/-n ü *.txt'"), "n");
    assert_eq!(agent.get("/git/status?path=other").json()["ahead"], 2);
    assert_eq!(post(&agent, "push", json!({"path": "work", "branch": "none"})).code(), "GIT_BRANCH_NOT_FOUND");
    assert_eq!(post(&agent, "push", json!({"path": "work", "remote": "none"})).code(), "GIT_REPO_NOT_FOUND");
    assert_eq!(post(&agent, "pull", json!({"path": "work", "branch": "none"})).code(), "GIT_BRANCH_NOT_FOUND");
    assert_eq!(post(&agent, "push", json!({"path": "work", "remote": "https://h/a"})).code(), "BAD_REQUEST");
}

#[test]
fn histories() {
    let agent = agent();
    let history = agent.get("/git/history?path=work").json();
    let commit = &history[1];
    let subjects: Vec<&str> =
        history.as_array().expect("a list").iter().filter_map(|c| c["message"].as_str()).collect();
    assert_eq!(subjects, ["second", "first"]);
    assert_eq!((&commit["author"], &commit["email"]), (&json!("Ada"), &json!("ada@example.com")));
    assert!(commit["timestamp"].as_str().expect("a time").contains('T'));
    // More than any pipe or answer buffer holds.
    sh(
        &agent,
        r#"cd work; seq 20000 | awk '{ printf "commit refs/heads/long\ncommitter A <a@b> %d +0000\ndata 5\nc%04d\n", $1, $1 % 10000 }' |
           git fast-import --quiet; git checkout -q long"#,
    );
    assert_eq!(agent.get("/git/history?path=work").json().as_array().map(Vec::len), Some(20_000));
    ok(&post(&agent, "init", json!({"path": "new"})));
    assert_eq!(agent.get("/git/history?path=new").json(), json!([]));
    assert_eq!(agent.get("/git/history?path=.").code(), "GIT_REPO_NOT_FOUND");
}

#[test]
fn branches_and_checkout() {
    let agent = agent();
    ok(&post(&agent, "branches", json!({"path": "work", "name": "a/mine"})));
    let branches = |agent: &Agent| agent.get("/git/branches?path=work").json();
    assert_eq!(branches(&agent), json!({"branches": ["a/mine", "main"], "current": "a/mine"}));
    assert_eq!(post(&agent, "branches", json!({"path": "work", "name": "main"})).code(), "GIT_BRANCH_EXISTS");
    for name in ["", "-D", "a..b", "a b"] {
        assert_eq!(post(&agent, "branches", json!({"path": "work", "name": name})).code(), "BAD_REQUEST", "{name}");
    }
    let checkout = |branch: &str| post(&agent, "checkout", json!({"path": "work", "branch": branch}));
    assert_eq!(checkout("none").code(), "GIT_BRANCH_NOT_FOUND");
    assert_eq!(checkout("a.txt").code(), "GIT_BRANCH_NOT_FOUND");
    let delete = |name: &str| {
        agent.send("DELETE", "/git/branches", "", json!({"path": "work", "name": name}).to_string().as_bytes())
    };
    assert_eq!(delete("a/mine").code(), "CONFLICT", "it is checked out");
    ok(&checkout("feature"));
    assert_eq!(agent.get("/git/status?path=work").json()["upstream"], "origin/feature");
    assert_eq!(delete("a/mine").status, 204);
    assert_eq!(delete("a/mine").code(), "GIT_BRANCH_NOT_FOUND");
    ok(&checkout("HEAD~1"));
    assert_eq!(branches(&agent), json!({"branches": ["feature", "main"], "current": ""}));
    let detached = post(&agent, "push", json!({"path": "work"}));
    assert!(detached.code() == "BAD_REQUEST" && detached.text().contains("detached"));
}

#[test]
fn refused_by_state() {
    let agent = agent();
    let checkout = |branch: &str| post(&agent, "checkout", json!({"path": "work", "branch": branch}));
    sh(
        &agent,
        "cd work; git checkout -qb other; echo o > a.txt; git commit -qam o; git checkout -q main; echo d > a.txt",
    );
    assert_eq!(checkout("other").code(), "GIT_DIRTY_WORKTREE");
    // Both sides change the same line.
    sh(&agent, "cd work; git commit -qam mine; git push -q origin other:main");
    assert_eq!(post(&agent, "push", json!({"path": "work"})).code(), "GIT_PUSH_REJECTED");
    let diverged = post(&agent, "pull", json!({"path": "work"}));
    assert!(diverged.code() == "GIT_MERGE_CONFLICT" && diverged.text().contains("pull.rebase"), "{}", diverged.text());
    ok(&post(&agent, "config", json!({"key": "pull.rebase", "value": "false"})));
    assert_eq!(post(&agent, "pull", json!({"path": "work"})).code(), "GIT_MERGE_CONFLICT");
    assert_eq!(files(&agent, "work")[0]["staging"], "Updated but unmerged");
    let commit = json!({"path": "work", "message": "m", "author": "A", "email": "a@b"});
    assert_eq!(post(&agent, "commit", commit).code(), "GIT_MERGE_CONFLICT");
    ok(&post(&agent, "reset", json!({"path": "work", "mode": "merge"})));
    assert_eq!(files(&agent, "work"), json!([]));
    // The remote's own rules.
    let hook = agent.work().join("origin.git/hooks/pre-receive");
    fs::write(&hook, "#!/bin/sh\necho no pushes today\nexit 1\n").expect("a hook");
    fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).expect("a hook");
    sh(&agent, "git -C work checkout -qb fresh");
    let refused = post(&agent, "push", json!({"path": "work"}));
    assert!(
        refused.code() == "GIT_REMOTE_REJECTED" && refused.text().contains("no pushes today"),
        "{}",
        refused.text()
    );
}

#[test]
fn reset_and_restore() {
    let agent = agent();
    sh(&agent, "cd work; echo x > a.txt; echo x > b.txt; git add .");
    ok(&post(&agent, "reset", json!({"path": "work", "files": ["a.txt"]})));
    assert_eq!(files(&agent, "work")[0]["staging"], "Unmodified");
    assert_eq!(files(&agent, "work")[1]["staging"], "Modified");
    ok(&post(&agent, "restore", json!({"path": "work", "files": ["b.txt"], "staged": true})));
    assert_eq!(
        files(&agent, "work")[1],
        json!({"name": "b.txt", "staging": "Unmodified", "worktree": "Modified", "extra": ""})
    );
    ok(&post(&agent, "restore", json!({"path": "work", "files": ["."]})));
    assert_eq!(files(&agent, "work"), json!([]));
    ok(&post(
        &agent,
        "restore",
        json!({"path": "work", "files": ["b.txt"], "staged": true, "worktree": true, "source": "HEAD~1"}),
    ));
    assert_eq!(files(&agent, "work")[0]["staging"], "Deleted");
    ok(&post(&agent, "reset", json!({"path": "work", "mode": "hard", "target": "HEAD~1"})));
    assert_eq!(sh(&agent, "ls work"), "a.txt\n");
    for (operation, body, code) in [
        ("reset", json!({"path": "work", "mode": "odd"}), "BAD_REQUEST"),
        ("reset", json!({"path": "work", "mode": "hard", "files": ["a.txt"]}), "BAD_REQUEST"),
        ("reset", json!({"path": "work", "target": "--hard"}), "BAD_REQUEST"),
        ("reset", json!({"path": "work", "mode": "hard", "target": "none"}), "GIT_BRANCH_NOT_FOUND"),
        ("reset", json!({"path": "work", "files": ["a.txt"], "target": "none"}), "GIT_BRANCH_NOT_FOUND"),
        ("restore", json!({"path": "work", "files": ["none"]}), "FILE_NOT_FOUND"),
        ("restore", json!({"path": "work", "files": ["*.txt"]}), "FILE_NOT_FOUND"),
        ("restore", json!({"path": "work", "files": ["a.txt"], "source": "none"}), "GIT_BRANCH_NOT_FOUND"),
        ("restore", json!({"path": "work", "files": []}), "BAD_REQUEST"),
        ("restore", json!({"path": "work", "files": ["a.txt"], "worktree": false}), "BAD_REQUEST"),
        ("add", json!({"path": "work", "files": ["none"]}), "FILE_NOT_FOUND"),
        ("add", json!({"path": "work", "files": ["../origin.git/HEAD"]}), "INVALID_FILE_PATH"),
    ] {
        let answer = post(&agent, operation, body.clone());
        assert_eq!(answer.code(), code, "{operation} {body} {}", answer.text());
    }
}

#[test]
fn wrong_paths() {
    let agent = agent();
    for (path, code) in [("none", "FILE_NOT_FOUND"), ("work/a.txt", "INVALID_FILE_PATH"), (".", "GIT_REPO_NOT_FOUND")] {
        for operation in ["status", "branches", "history", "remotes"] {
            assert_eq!(agent.get(&format!("/git/{operation}?path={path}")).code(), code, "{operation} {path}");
        }
        assert_eq!(post(&agent, "add", json!({"path": path, "files": ["."]})).code(), code);
    }
    // A repository is at its path, not above it.
    fs::create_dir(agent.work().join("work/below")).expect("a fresh path");
    assert_eq!(agent.get("/git/status?path=work/below").code(), "GIT_REPO_NOT_FOUND");
    assert_eq!(agent.get("/git/status").code(), "BAD_REQUEST");
}

#[test]
fn remotes() {
    let agent = agent();
    let list = |agent: &Agent| agent.get("/git/remotes?path=work").json()["remotes"].clone();
    let origin = list(&agent)[0].clone();
    assert_eq!(origin["name"], "origin");
    let add = |extra: Value| {
        let mut body = json!({"path": "work", "name": "second", "url": "../origin.git"});
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        post(&agent, "remotes", body)
    };
    assert_eq!(add(json!({"fetch": true})).status, 201);
    assert!(sh(&agent, "git -C work branch -r").contains("second/feature"));
    assert_eq!(add(json!({})).code(), "CONFLICT");
    ok(&add(json!({"overwrite": true, "url": "/else where"})));
    assert_eq!(list(&agent), json!([origin, {"name": "second", "url": "/else where"}]));
    assert_eq!(add(json!({"name": "a b"})).code(), "BAD_REQUEST");
    assert_eq!(add(json!({"name": "-x"})).code(), "BAD_REQUEST");
    let failed = add(json!({"name": "third", "url": "/none", "fetch": true}));
    assert!(failed.code() == "GIT_REPO_NOT_FOUND" && failed.text().contains("was added"), "{}", failed.text());
    // A password is kept only where the call is for keeping it.
    let url = r#"https://me:pa"ss\w@host/a.git"#;
    ok(&add(json!({"name": "kept", "url": url})));
    assert_eq!(
        sh(&agent, "git -C work config remote.kept.url; git -C work config remote.kept.fetch"),
        format!("{url}\n+refs/heads/*:refs/remotes/kept/*\n")
    );
    ok(&add(json!({"name": "kept", "url": "https://u:other@host/b.git", "overwrite": true})));
    assert_eq!(sh(&agent, "git -C work config --get-all remote.kept.url"), "https://u:other@host/b.git\n");
}

#[test]
fn configuration() {
    let agent = agent();
    let get = |query: &str| agent.get(&format!("/git/config?{query}")).json();
    ok(&post(&agent, "config", json!({"key": "a.b", "value": "-one\ntwo"})));
    assert_eq!(get("key=a.b"), json!({"value": "-one\ntwo"}));
    assert_eq!(get("key=a.b&scope=local&path=work"), json!({"value": null}));
    ok(&post(&agent, "config", json!({"key": "a.b", "value": "", "scope": "local", "path": "work"})));
    assert_eq!(get("key=a.b&scope=local&path=work"), json!({"value": ""}));
    ok(&post(&agent, "config/user", json!({"name": "Bob", "email": "b@c", "scope": "local", "path": "work"})));
    assert_eq!(sh(&agent, "git -C work config user.name; git config user.name"), "Bob\nAda\n");
    for body in [
        json!({"key": "ab", "value": "x"}),
        json!({"key": "--add.x", "value": "x"}),
        json!({"key": "a.b", "value": "x", "scope": "odd"}),
        json!({"key": "a.b", "value": "x", "scope": "local"}),
    ] {
        assert_eq!(post(&agent, "config", body.clone()).code(), "BAD_REQUEST", "{body}");
    }
    assert_eq!(agent.get("/git/config?key=a.b&scope=local&path=.").code(), "GIT_REPO_NOT_FOUND");
}

#[test]
fn stored_credentials() {
    let agent = plain();
    let body = json!({"username": "me", "password": "s e:c@ret", "host": "example.com:8443"});
    for _ in 0..2 {
        ok(&post(&agent, "credentials", body.clone()));
    }
    let ask = "printf 'protocol=https\\nhost=example.com:8443\\n\\n' | GIT_TERMINAL_PROMPT=0 git credential fill";
    assert!(sh(&agent, ask).contains("username=me\npassword=s e:c@ret\n"));
    let mode = fs::metadata(agent.work().join(".git-credentials")).expect("the store").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(sh(&agent, "git config --get-all credential.helper"), "store\n");
    for (name, value) in [("password", "a\nb"), ("username", ""), ("host", "a/b")] {
        let mut wrong = body.clone();
        wrong[name] = json!(value);
        assert_eq!(post(&agent, "credentials", wrong).code(), "BAD_REQUEST", "{name}");
    }
}

/// A server that asks for a login and never accepts one, until it has seen one; and then says what processes show.
struct Server {
    port: u16,
    seen: std::thread::JoinHandle<(String, String)>,
}

fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let seen = std::thread::spawn(move || {
        loop {
            let (mut stream, _) = listener.accept().expect("a client");
            let login = authorization(&stream);
            let shown = login.as_ref().map(|_| arguments_and_environments(&format!(":{port}/")));
            let answer = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).expect("a client");
            if let (Some(login), Some(shown)) = (login, shown) {
                return (login, shown);
            }
        }
    });
    Server { port, seen }
}

fn authorization(stream: &TcpStream) -> Option<String> {
    let lines = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.strip_prefix("Authorization: ").map(str::to_owned)).last()
}

/// Of all processes of git that are about this place.
fn arguments_and_environments(place: &str) -> String {
    let pids = fs::read_dir("/proc").expect("proc").flatten().map(|entry| entry.path());
    let read =
        |pid: &Path, name: &str| String::from_utf8_lossy(&fs::read(pid.join(name)).unwrap_or_default()).into_owned();
    let gits = pids.filter(|pid| read(pid, "cmdline").contains(place));
    gits.map(|pid| read(&pid, "cmdline") + &read(&pid, "environ")).collect()
}

#[test]
fn logins_show_nowhere() {
    let agent = agent();
    // A helper of the user must neither be asked first nor be told.
    sh(&agent, "git config --global credential.helper '!f() { echo $1 >> told; echo password=other; }; f'");
    let by_request = json!({"username": "me", "password": "hidden"});
    for (address, login) in [("", by_request), ("me:hidden@", json!({}))] {
        let server = server();
        let mut body = json!({"url": format!("http://{address}127.0.0.1:{}/a.git", server.port), "path": "x"});
        body.as_object_mut().expect("an object").extend(login.as_object().expect("an object").clone());
        let answer = post(&agent, "clone", body);
        assert_eq!(answer.code(), "GIT_AUTH_FAILED", "{}", answer.text());
        assert!(!answer.text().contains("hidden"), "{}", answer.text());
        let (seen, shown) = server.seen.join().expect("the server ends");
        assert_eq!(seen, "Basic bWU6aGlkZGVu");
        assert!(shown.contains("/a.git") && !shown.contains("hidden"), "{shown}");
    }
    assert!(!agent.work().join("told").exists());
    assert!(!agent.work().join("x").exists());
    let answer = post(&agent, "clone", json!({"url": "/x", "path": "x", "password": "a\nb"}));
    assert_eq!(answer.code(), "BAD_REQUEST");
}

#[test]
fn configured_rewriting_is_honoured() {
    let agent = agent();
    let server = server();
    let place = format!("http://127.0.0.1:{}/", server.port);
    sh(
        &agent,
        &format!(
            "git config --global url.{place}.insteadOf https://far.example/; git config --global url.$PWD/.insteadOf near:"
        ),
    );
    let login = json!({"url": "https://far.example/a.git", "path": "x", "username": "me", "password": "hidden"});
    assert_eq!(post(&agent, "clone", login).code(), "GIT_AUTH_FAILED");
    assert_eq!(server.seen.join().expect("the server ends").0, "Basic bWU6aGlkZGVu");
    ok(&post(&agent, "clone", json!({"url": "near:origin.git", "path": "y", "username": "me", "password": "p"})));
}

#[test]
fn a_clone_ends_with_its_caller() {
    let agent = agent();
    // Git waits for this side of the transport for ever.
    sh(&agent, "printf '#!/bin/sh\\necho $$ > pid\\nexec sleep 1000\\n' > wait; chmod +x wait; mkfifo started");
    sh(&agent, "git config --global core.sshCommand $PWD/wait");
    let mut stream = agent.connect();
    let body = r#"{"url":"ssh://host/a.git","path":"p/x"}"#;
    write!(stream, "POST /git/clone HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .expect("open");
    let pid = begun(&agent.work().join("pid"));
    assert!(runs(&pid) && agent.work().join("p/x").exists());
    drop(stream);
    wait_for_end(pid.trim());
    while agent.work().join("p").exists() {
        std::thread::yield_now();
    }
}

#[test]
fn a_caller_that_hangs_up_leaves_no_lock() {
    let agent = agent();
    sh(
        &agent,
        "printf '#!/bin/sh\\necho $$ > ../pid\\nexec sleep 1000\\n' > slow; chmod +x slow
         git config --global filter.slow.clean $PWD/slow; echo '*.slow filter=slow' > work/.gitattributes; echo > work/a.slow",
    );
    let mut stream = agent.connect();
    let body = r#"{"path":"work","files":["."]}"#;
    write!(stream, "POST /git/add HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("open");
    let pid = begun(&agent.work().join("pid"));
    let lock = agent.work().join("work/.git/index.lock");
    assert!(runs(&pid) && lock.exists());
    drop(stream);
    wait_for_end(pid.trim());
    while lock.exists() {
        std::thread::yield_now();
    }
    sh(&agent, "rm work/a.slow");
    ok(&post(&agent, "add", json!({"path": "work", "files": ["."]})));
}

/// The number of a process, once it has written it.
fn begun(pid: &Path) -> String {
    let written = || fs::read_to_string(pid).ok().filter(|pid| pid.ends_with('\n'));
    std::iter::repeat_with(written).find_map(|pid| pid).expect("it starts")
}

#[test]
fn without_git() {
    let agent = Agent::with(|config| {
        config.env.insert("PATH".to_owned(), "/no/such".to_owned());
    });
    for name in ["objects", "refs"] {
        fs::create_dir_all(agent.work().join("work/.git").join(name)).expect("a fresh path");
    }
    fs::write(agent.work().join("work/.git/HEAD"), "ref: refs/heads/main").expect("written");
    let answer = agent.get("/git/status?path=work");
    assert!(answer.code() == "BAD_REQUEST" && answer.text().contains("install it"), "{}", answer.text());
    assert_eq!(post(&agent, "clone", json!({"url": "/x", "path": "y"})).code(), "BAD_REQUEST");
    assert!(!agent.work().join("y").exists());
}

#[test]
fn variables_do_not_lead_elsewhere() {
    let agent = agent();
    let elsewhere =
        json!({"set": {"GIT_DIR": "/none", "GIT_TRACE": "1", "GIT_EDITOR": "false", "LC_ALL": "de_DE.UTF-8"}});
    ok(&agent.post("/env", &elsewhere));
    assert_eq!(agent.get("/git/status?path=work").json()["currentBranch"], "main");
    assert_eq!(agent.get("/git/status?path=.").code(), "GIT_REPO_NOT_FOUND");
}

/// Variables as `env` prints them, without those that differ from run to run, and those that name who commits: the request
/// says that.
fn environment(text: &str) -> Vec<String> {
    let passing = ["_=", "SEBRING_JOB=", "PWD=", "OLDPWD=", "SHLVL=", "GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_EDITOR="];
    let kept = |line: &&str| !passing.iter().any(|name| line.starts_with(name));
    let mut lines: Vec<String> = text.lines().filter(kept).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn hooks_see_the_environment_of_the_user() {
    let agent = agent();
    let hook = |name: &str, script: &str| {
        let path = agent.work().join("work/.git/hooks").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("changed");
    };
    hook(
        "pre-commit",
        "env > ../env; ls -l /proc/self/fd > ../fds; git diff --cached --name-only -- '*.py' > ../found",
    );
    hook("pre-push", "env > ../env");
    sh(
        &agent,
        "cd work; git config filter.f.clean 'sh -c \"env > ../filter; cat\"'; echo '*.py filter=f' > .gitattributes",
    );
    let read = |name: &str| fs::read_to_string(agent.work().join(name)).expect("the hook ran");

    sh(&agent, "cd work; echo 1 > one.py; git add one.py .gitattributes; git commit -qm one");
    let (by_hand, filtered) = (environment(&read("env")), environment(&read("filter")));
    sh(&agent, "cd work; echo 2 > two.py");
    ok(&post(&agent, "add", json!({"path": "work", "files": ["two.py"]})));
    let body = json!({"path": "work", "message": "two", "author": "Ada", "email": "ada@example.com"});
    ok(&post(&agent, "commit", body));
    assert_eq!(environment(&read("env")), by_hand);
    assert_eq!(environment(&read("filter")), filtered);
    assert_eq!(read("found"), "two.py\n");
    let descriptors = read("fds");
    assert!(!descriptors.contains("memfd"), "{descriptors}");

    sh(&agent, "cd work; git push -q origin HEAD:refs/heads/other");
    let by_hand = environment(&read("env"));
    ok(&post(&agent, "push", json!({"path": "work"})));
    assert_eq!(environment(&read("env")), by_hand);
}

#[test]
fn names_with_the_signs_of_patterns_are_names() {
    let agent = agent();
    sh(&agent, "cd work; echo 1 > '*.x'; echo 2 > a.x; echo 3 > ':(top)b'");
    ok(&post(&agent, "add", json!({"path": "work", "files": ["*.x", ":(top)b"]})));
    assert_eq!(sh(&agent, "cd work; git diff --cached --name-only"), "*.x\n:(top)b\n");
    let refused = post(&agent, "add", json!({"path": "work", "files": ["none"]}));
    assert!(refused.text().contains("'none' did not match any file"), "{}", refused.text());
}

#[test]
fn a_directory_within_a_repository_is_none() {
    let agent = agent();
    sh(&agent, "cd work; mkdir -p below/.git");
    assert_eq!(agent.get("/git/status?path=work/below").code(), "GIT_REPO_NOT_FOUND");
    assert_eq!(agent.get("/git/status?path=origin.git").code(), "BAD_REQUEST", "bare: it has no work tree");
    sh(&agent, "cd work; git worktree add -q ../linked");
    assert_eq!(agent.get("/git/status?path=linked").status, 200);
}
