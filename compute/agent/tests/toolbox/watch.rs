//! Changes as server-sent events.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::agent::{Agent, read};

struct Watch {
    events: BufReader<UnixStream>,
    root: String,
}

impl Watch {
    /// Of a path in the work directory; what it tells is shown without that.
    fn start(agent: &Agent, query: &str) -> Self {
        let mut stream = agent.connect();
        write!(stream, "GET /files/watch?{query} HTTP/1.1\r\nHost: x\r\n\r\n").expect("the agent reads");
        let root = format!("{}/", agent.work().display());
        let mut watch = Self { events: BufReader::new(stream), root };
        assert_eq!(watch.line("content-type: "), "text/event-stream");
        assert_eq!(watch.event(), ("ready".to_owned(), json!({})));
        watch
    }

    fn line(&mut self, prefix: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.events.read_line(&mut line).expect("a line"), 0, "the stream ended");
            if let Some(rest) = line.trim_end().strip_prefix(prefix) {
                return rest.to_owned();
            }
        }
    }

    fn event(&mut self) -> (String, Value) {
        (self.line("event: "), serde_json::from_str(&self.line("data: ")).expect("JSON"))
    }

    /// The next event in short: its name, the first letter of its type, its paths.
    fn next(&mut self) -> String {
        let (event, data) = self.event();
        let path = |field: &str| data[field].as_str().map(|path| path.trim_start_matches(&self.root).to_owned());
        let (path, from) = (path("path").expect("a path"), path("from"));
        let letter = &data["type"].as_str().expect("a type")[..1];
        from.map_or(format!("{event} {letter} {path}"), |from| format!("{event} {letter} {from} {path}"))
    }

    fn ends(mut self) -> bool {
        let mut rest = String::new();
        while self.events.read_line(&mut rest).is_ok_and(|length| length > 0) && !rest.ends_with("0\r\n") {}
        rest.ends_with("0\r\n")
    }
}

fn write(path: &Path) {
    fs::write(path, "x").expect("written");
}

#[test]
fn a_tree_is_watched_as_it_grows() {
    let agent = Agent::new();
    let work = agent.work();
    fs::create_dir_all(work.join("old/deep")).expect("made");
    let mut watch = Watch::start(&agent, "path=&recursive=true");
    write(&work.join("a"));
    assert_eq!([watch.next(), watch.next()], ["create f a", "modify f a"]);
    write(&work.join("old/deep/b"));
    assert_eq!([watch.next(), watch.next()], ["create f old/deep/b", "modify f old/deep/b"]);
    fs::rename(work.join("a"), work.join("b")).expect("moved");
    assert_eq!(watch.next(), "move f a b");
    fs::create_dir_all(work.join("d/e")).expect("made");
    assert_eq!([watch.next(), watch.next()], ["create d d", "create d d/e"]);
    fs::rename(work.join("d"), work.join("f")).expect("moved");
    assert_eq!(watch.next(), "move d d f");
    write(&work.join("f/e/g"));
    assert_eq!([watch.next(), watch.next()], ["create f f/e/g", "modify f f/e/g"]);
    let outside = tempfile::tempdir_in(agent.directory.path()).expect("a scratch directory");
    fs::rename(work.join("f"), outside.path().join("f")).expect("moved");
    assert_eq!(watch.next(), "delete d f");
    write(&outside.path().join("f/e/h"));
    fs::remove_file(work.join("b")).expect("removed");
    assert_eq!(watch.next(), "delete f b", "what left the tree is not watched");
    fs::rename(outside.path().join("f"), work.join("back")).expect("moved");
    let mut found = [watch.next(), watch.next(), watch.next(), watch.next()];
    found.sort_unstable();
    assert_eq!(found, ["create d back", "create d back/e", "create f back/e/g", "create f back/e/h"]);
    symlink(outside.path(), work.join("link")).expect("linked");
    assert_eq!(watch.next(), "create f link");
    write(&outside.path().join("unseen"));
    fs::remove_file(work.join("link")).expect("removed");
    assert_eq!(watch.next(), "delete f link", "links are not followed");
}

#[test]
fn a_directory_alone_and_its_end() {
    let agent = Agent::new();
    fs::create_dir_all(agent.work().join("d/e")).expect("made");
    let mut watch = Watch::start(&agent, "path=d");
    write(&agent.work().join("d/e/f"));
    write(&agent.work().join("d/g"));
    assert_eq!([watch.next(), watch.next()], ["create f d/g", "modify f d/g"]);
    fs::remove_dir_all(agent.work().join("d")).expect("removed");
    let mut gone = [watch.next(), watch.next()];
    gone.sort_unstable();
    assert_eq!(gone, ["delete d d/e", "delete f d/g"]);
    assert_eq!(watch.next(), "delete d d");
    assert!(watch.ends());
    assert_eq!(agent.get("/files/watch?path=none").code(), "FILE_NOT_FOUND");
    assert_eq!(agent.get("/files/watch?path=&recursive=x").code(), "BAD_REQUEST");
}

#[test]
fn a_file_may_be_replaced() {
    let agent = Agent::new();
    let (file, other) = (agent.work().join("file"), agent.work().join("other"));
    write(&file);
    let mut watch = Watch::start(&agent, "path=file&recursive=true");
    write(&other);
    fs::OpenOptions::new().append(true).open(&file).expect("opened").write_all(b"y").expect("written");
    assert_eq!(watch.next(), "modify f file");
    fs::rename(&other, &file).expect("moved");
    assert_eq!(watch.next(), "create f file");
    fs::rename(&file, &other).expect("moved");
    assert_eq!(watch.next(), "delete f file");
}

#[test]
fn lost_changes_are_told() {
    let agent = Agent::new();
    let mut watch = Watch::start(&agent, "path=&recursive=true");
    let name = agent.work().join("a-long-name-that-fills-the-buffers-on-the-way-to-a-slow-client".repeat(3));
    for _ in 0..15_000 {
        write(&name);
        fs::remove_file(&name).expect("removed");
    }
    fs::create_dir(agent.work().join("late")).expect("made");
    while watch.event().0 != "overflow" {}
    write(&agent.work().join("late/x"));
    while watch.next() != "create f late/x" {}
}

#[test]
fn a_client_that_goes_leaves_no_thread() {
    let agent = Agent::new();
    let threads = || fs::read_dir(format!("/proc/{}/task", agent.child.id())).expect("the agent runs").count();
    for _ in 0..2 {
        let watches: Vec<Watch> = (0..16).map(|_| Watch::start(&agent, "path=")).collect();
        assert!(threads() >= 17);
        let mut stream = agent.connect();
        write!(stream, "GET /files/watch?path= HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("read");
        let refused = read(stream);
        assert_eq!((refused.status, refused.code().as_str()), (503, "SERVICE_UNAVAILABLE"), "16 are allowed");
        drop(watches);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while threads() > 1 {
            assert!(std::time::Instant::now() < deadline, "{} threads are left", threads());
        }
    }
}

#[test]
fn uploads_tell_of_the_file_that_they_write() {
    let agent = Agent::new();
    let file = agent.work().join("f");
    fs::write(&file, "old").expect("written");
    let mut watch = Watch::start(&agent, "path=");
    let mut only = Watch::start(&agent, "path=f");
    let upload = |path: &str| {
        let content = vec![b'x'; 100_000];
        assert_eq!(agent.send("POST", &format!("/files/upload-v2?path={path}"), "", &content).status, 200);
    };
    upload("f");
    assert_eq!((watch.next(), only.next()), ("modify f f".to_owned(), "modify f f".to_owned()));
    // A reader has it open: a new file takes the name.
    let reader = fs::File::open(&file).expect("there");
    upload("f");
    drop(reader);
    upload("new");
    fs::write(agent.work().join("#38"), "a file of that name").expect("written");
    fs::remove_file(&file).expect("removed");
    let mut told = Vec::new();
    while told.last().is_none_or(|event| event != "delete f f") {
        told.push(watch.next());
    }
    told.dedup();
    assert_eq!(told, ["modify f f", "create f new", "create f #38", "modify f #38", "delete f f"]);
    let mut told = vec![only.next()];
    while told.last().is_none_or(|event| event != "delete f f") {
        told.push(only.next());
    }
    told.dedup();
    assert_eq!(told, ["modify f f", "delete f f"]);
}
