//! Files but for their transfer.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use crate::agent::Agent;

fn query(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn folders_and_listings() {
    let agent = Agent::new();
    assert_eq!(agent.send("POST", "/files/folder?path=a/b/c&mode=750", "", b"").status, 201);
    assert_eq!(agent.send("POST", "/files/folder?path=a/b/c&mode=700", "", b"").status, 201);
    fs::write(agent.work().join("a/file"), "12345").expect("written");
    symlink("nowhere", agent.work().join("a/link")).expect("linked");
    let entries = agent.get("/files?path=a").json();
    let names: Vec<_> = entries.as_array().expect("an array").iter().map(|entry| entry["name"].clone()).collect();
    assert_eq!(names, ["b", "file", "link"]);
    let file = &entries[1];
    assert_eq!((&file["size"], &file["isDir"], &file["permissions"]), (&json!(5), &json!(false), &json!("0644")));
    assert_eq!(file["mode"], "-rw-r--r--");
    assert_eq!(file["path"], agent.work().join("a/file").to_str().expect("UTF-8"));
    assert!(file["modTime"].as_str().is_some_and(|time| time.ends_with(" +0000 UTC")), "{file}");
    assert_eq!(entries[2]["mode"], "lrwxrwxrwx");
    let deep = agent.get("/files?path=&depth=3").json();
    assert_eq!(deep.as_array().map(Vec::len), Some(5));
    let info = agent.get("/files/info?path=a/b/c").json();
    assert_eq!((&info["mode"], &info["isDir"]), (&json!("drwxr-x---"), &json!(true)));
    assert_eq!(agent.get("/files/info?path=a/link").json()["mode"], "lrwxrwxrwx", "of a dangling link");
    assert_eq!(agent.get("/files?path=missing").code(), "FILE_NOT_FOUND");
    assert_eq!(agent.get("/files?path=a/file").code(), "INVALID_FILE_PATH");
    assert_eq!(agent.get("/files?path=a&depth=0").status, 400);
    assert_eq!(agent.send("POST", "/files/folder?path=a/file/x", "", b"").status, 400);
    assert_eq!(agent.send("POST", "/files/folder?path=a/file", "", b"").status, 400);
    assert_eq!(agent.send("POST", "/files/folder?path=z&mode=9", "", b"").status, 400);
}

#[test]
fn odd_names() {
    let agent = Agent::new();
    for name in ["with space", "ünï", "-dash", "new\nline", "quo\"te", "per%cent", "plus+"] {
        let path = format!("/files/upload-v2?path={}", query(name));
        assert_eq!(agent.send("POST", &path, "", b"x").status, 200, "{name}");
        assert_eq!(agent.get(&format!("/files/download?path={}", query(name))).body, b"x", "{name}");
    }
    let listed = agent.get("/files?path=").json();
    assert_eq!(listed.as_array().map(Vec::len), Some(7));
}

#[test]
fn deletion() {
    let agent = Agent::new();
    fs::create_dir_all(agent.work().join("d/e")).expect("made");
    fs::write(agent.work().join("kept"), "").expect("written");
    symlink(agent.work(), agent.work().join("d/link")).expect("linked");
    assert_eq!(agent.delete("/files?path=d").status, 400);
    assert_eq!(agent.delete("/files?path=d&recursive=false").status, 400);
    assert_eq!(agent.delete("/files?path=d&recursive=true").status, 204);
    assert!(agent.work().join("kept").exists(), "links are not followed");
    assert_eq!(agent.delete("/files?path=kept").status, 204);
    assert_eq!(agent.delete("/files?path=kept").code(), "FILE_NOT_FOUND");
    assert_eq!(agent.delete("/files").status, 400);
}

#[test]
fn moves() {
    let agent = Agent::new();
    fs::write(agent.work().join("a"), "A").expect("written");
    fs::write(agent.work().join("b"), "B").expect("written");
    let moved =
        |from: &str, to: &str| agent.send("POST", &format!("/files/move?source={from}&destination={to}"), "", b"");
    assert_eq!(moved("a", "b").code(), "CONFLICT");
    assert_eq!(moved("none", "c").code(), "FILE_NOT_FOUND");
    assert_eq!(moved("a", "no/such/place").code(), "FILE_NOT_FOUND");
    assert_eq!(moved("a", "c").status, 200);
    assert_eq!(fs::read(agent.work().join("c")).expect("moved"), b"A");
    fs::create_dir(agent.work().join("d")).expect("made");
    assert_eq!(moved("d", "d/e").code(), "INVALID_FILE_PATH");
    // To another file system, which memory is.
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
    fs::create_dir(agent.work().join("d/e")).expect("made");
    fs::write(agent.work().join("d/e/f"), "F").expect("written");
    symlink("e/f", agent.work().join("d/link")).expect("linked");
    fs::set_permissions(agent.work().join("d/e"), fs::Permissions::from_mode(0o511)).expect("changed");
    let to = other.path().join("d");
    assert_eq!(moved("d", to.to_str().expect("UTF-8")).status, 200);
    assert_eq!(fs::read(to.join("link")).expect("moved"), b"F");
    assert_eq!(fs::metadata(to.join("e")).expect("moved").permissions().mode() & 0o777, 0o511);
    assert!(!agent.work().join("d").exists());
}

#[test]
fn permissions() {
    let agent = Agent::new();
    fs::write(agent.work().join("f"), "").expect("written");
    let set = |what: &str| agent.send("POST", &format!("/files/permissions?path=f&{what}"), "", b"");
    assert_eq!(set("mode=4711").status, 200);
    assert_eq!(agent.get("/files/info?path=f").json()["mode"], "-rws--x--x");
    let (uid, gid) = (nix::unistd::Uid::current(), nix::unistd::Gid::current());
    assert_eq!(set(&format!("owner={uid}&group={gid}&mode=600")).status, 200);
    assert_eq!(agent.get("/files/info?path=f").json()["permissions"], "0600");
    for wrong in ["mode=8", "mode=77777", "owner=no-such-user", "group=no-such-group"] {
        assert_eq!(set(wrong).status, 400, "{wrong}");
    }
    assert_eq!(agent.send("POST", "/files/permissions?path=none&mode=600", "", b"").status, 404);
}

#[test]
fn finding() {
    let agent = Agent::new();
    fs::create_dir_all(agent.work().join("src/deep")).expect("made");
    fs::write(agent.work().join("src/a.txt"), "one\nneedle here\r\nthree needle").expect("written");
    fs::write(agent.work().join("src/deep/b.rs"), "needle").expect("written");
    fs::write(agent.work().join("src/binary"), b"\0needle").expect("written");
    symlink(agent.work().join("src"), agent.work().join("src/deep/loop")).expect("linked");
    let found = agent.get("/files/find?path=src&pattern=needle").json();
    let path = |name: &str| agent.work().join("src").join(name).to_str().expect("UTF-8").to_owned();
    assert_eq!(
        found,
        json!([
            {"file": path("a.txt"), "line": 2, "content": "needle here"},
            {"file": path("a.txt"), "line": 3, "content": "three needle"},
            {"file": path("deep/b.rs"), "line": 1, "content": "needle"},
        ])
    );
    assert_eq!(agent.get("/files/find?path=src/a.txt&pattern=one").json()[0]["line"], 1);
    assert_eq!(agent.get("/files/find?path=none&pattern=x").status, 404);
    assert_eq!(agent.get("/files/find?path=src").status, 400);
    let searched = |pattern: &str| {
        agent.get(&format!("/files/search?path=src&pattern={}", query(pattern))).json()["files"].clone()
    };
    assert_eq!(searched("*.rs"), json!([path("deep/b.rs")]));
    assert_eq!(searched("?.*"), json!([path("a.txt"), path("deep/b.rs")]));
    assert_eq!(searched("deep/*.rs"), json!([path("deep/b.rs")]));
    assert_eq!(searched("nothing*"), json!([]));
    assert_eq!(agent.get("/files/search?path=none&pattern=x").status, 404);
}

#[test]
fn replacing() {
    let agent = Agent::new();
    let file = agent.work().join("f");
    fs::write(&file, "a b a").expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("changed");
    let body = json!({"files": ["f", "none", "."], "pattern": "a", "newValue": "longer"});
    let results = agent.post("/files/replace", &body).json();
    assert_eq!(results[0], json!({"file": "f", "success": true}));
    assert_eq!((&results[1]["success"], &results[2]["success"]), (&json!(false), &json!(false)));
    assert!(results[1]["error"].as_str().is_some_and(|error| error.contains("not found")));
    assert_eq!(fs::read_to_string(&file).expect("there"), "longer b longer");
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o755);
    agent.post("/files/replace", &json!({"files": ["f"], "pattern": "longer", "newValue": ""}));
    assert_eq!(fs::read_to_string(&file).expect("there"), " b ");
    assert_eq!(agent.post("/files/replace", &json!({"files": ["f"], "pattern": "", "newValue": ""})).status, 400);
}

#[test]
fn memory_goes_back_after_a_large_answer() {
    let agent = Agent::new();
    let held = || {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", agent.child.id())).expect("the agent runs");
        let line = text.lines().find(|line| line.starts_with("Anonymous:")).expect("a line").to_owned();
        line.split_whitespace().nth(1).and_then(|kibibytes| kibibytes.parse::<usize>().ok()).expect("a number")
    };
    agent.get("/files?path=");
    let before = held();
    for number in 0..20_000 {
        fs::write(agent.work().join(format!("file-{number}")), "").expect("written");
    }
    assert_eq!(agent.get("/files?path=").json().as_array().map(Vec::len), Some(20_000));
    // The memory goes back right after the last byte is sent.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while held() > before + 1500 {
        assert!(std::time::Instant::now() < deadline, "{} KiB, {before} before", held());
    }
}
