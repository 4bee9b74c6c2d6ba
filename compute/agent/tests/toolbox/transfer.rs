//! Uploads and downloads.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::agent::{Agent, Answer, read};

const FORM: &str = "Content-Type: multipart/form-data; boundary=B\r\n";

fn form(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (headers, content) in parts {
        body.push_str(&format!("--B\r\n{headers}\r\n\r\n{content}\r\n"));
    }
    (body + "--B--\r\n").into_bytes()
}

fn bulk(agent: &Agent, parts: &[(&str, &str)]) -> Answer {
    agent.send("POST", "/files/bulk-upload", FORM, &form(parts))
}

fn path_part(index: usize) -> String {
    format!("Content-Disposition: form-data; name=\"files[{index}].path\"")
}

fn file_part(index: usize) -> String {
    format!(
        "Content-Type: text/plain\r\nContent-Disposition: form-data; name=\"files[{index}].file\"; filename=\"x%2Fy\""
    )
}

#[test]
fn bulk_uploads_in_every_order() {
    let agent = Agent::new();
    let (p0, p1, f0, f1) = (path_part(0), path_part(1), file_part(0), file_part(1));
    let paths_first = [(p0.as_str(), "a/1"), (p1.as_str(), "a/2"), (f0.as_str(), "one"), (f1.as_str(), "two\r\n--")];
    let interleaved = [(p0.as_str(), "b/1"), (f0.as_str(), "one"), (p1.as_str(), "b/2"), (f1.as_str(), "")];
    let answer = bulk(&agent, &paths_first);
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"files": [{"path": "a/1", "bytes": 3}, {"path": "a/2", "bytes": 7}]}))
    );
    assert_eq!(bulk(&agent, &interleaved).status, 200);
    assert_eq!(fs::read(agent.work().join("a/2")).expect("uploaded"), b"two\r\n--");
    assert_eq!(fs::read(agent.work().join("b/2")).expect("uploaded"), b"");
    let mode = |path: &str| fs::metadata(agent.work().join(path)).expect("uploaded").permissions().mode() & 0o777;
    assert_eq!((mode("a"), mode("a/1")), (0o755, 0o644));
}

#[test]
fn bulk_uploads_that_fail_in_part() {
    let agent = Agent::new();
    fs::create_dir(agent.work().join("dir")).expect("made");
    let (p0, p1, f0, f1) = (path_part(0), path_part(1), file_part(0), file_part(1));
    let answer = bulk(&agent, &[(&p0, "dir"), (&f0, "x"), (&p1, "good"), (&f1, "y")]);
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["files"], json!([{"path": "good", "bytes": 1}]));
    assert!(answer.json()["errors"][0].as_str().is_some_and(|error| error.starts_with("dir: ")));
    assert_eq!(bulk(&agent, &[(&f0, "x")]).status, 400, "no path");
    assert_eq!(bulk(&agent, &[(&p0, "lonely")]).status, 400, "no content");
    assert_eq!(bulk(&agent, &[]).status, 400, "nothing");
    let mut cut = form(&[(&p0, "cut"), (&f0, "half of")]);
    cut.truncate(cut.len() - 10);
    assert_eq!(agent.send("POST", "/files/bulk-upload", FORM, &cut).status, 400);
    assert!(!agent.work().join("cut").exists(), "nothing half-written stays");
    assert_eq!(agent.send("POST", "/files/bulk-upload", "Content-Type: text/plain\r\n", b"x").status, 400);
}

#[test]
fn uploads_keep_the_file() {
    let agent = Agent::new();
    let file = agent.work().join("f");
    fs::write(&file, "old and long").expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o751)).expect("changed");
    symlink("f", agent.work().join("link")).expect("linked");
    symlink("later", agent.work().join("dangling")).expect("linked");
    let inode = fs::metadata(&file).expect("there").ino();
    assert_eq!(agent.send("POST", "/files/upload-v2?path=link", "", b"new").status, 200);
    let metadata = fs::metadata(&file).expect("there");
    assert_eq!((metadata.ino(), metadata.permissions().mode() & 0o777, metadata.len()), (inode, 0o751, 3));
    assert_eq!(agent.send("POST", "/files/upload-v2?path=dangling", "", b"x").status, 200);
    assert_eq!(fs::read(agent.work().join("later")).expect("made"), b"x");
}

#[test]
fn single_uploads() {
    let agent = Agent::new();
    let answer = agent.send("POST", "/files/upload-v2?path=new/raw", "", b"raw bytes");
    assert_eq!(answer.json()["name"], "raw");
    let body = form(&[
        ("Content-Disposition: form-data; name=other", "no"),
        ("Content-Disposition: form-data; name=file", "yes"),
    ]);
    assert_eq!(agent.send("POST", "/files/upload?path=form", FORM, &body).status, 200);
    assert_eq!(fs::read(agent.work().join("form")).expect("uploaded"), b"yes");
    assert_eq!(agent.send("POST", "/files/upload?path=none", FORM, &form(&[])).status, 400);
    assert_eq!(agent.send("POST", "/files/upload-v2?path=new", "", b"x").code(), "INVALID_FILE_PATH");
    assert_eq!(agent.send("POST", "/files/upload-v2?path=new/raw/x", "", b"x").code(), "INVALID_FILE_PATH");
    assert_eq!(agent.send("POST", "/files/upload-v2", "", b"x").status, 400);
    nix::unistd::mkfifo(&agent.work().join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("made");
    assert_ne!(agent.send("POST", "/files/upload-v2?path=fifo", "", b"x").status, 200);
}

#[test]
fn refusals_arrive_though_the_body_is_long() {
    let agent = Agent::new();
    let body = vec![b' '; 1 << 20];
    for path in ["/files/upload-v2", "/no-such-route", "/files/folder?path="] {
        let status = agent.send("POST", path, "", &body).status;
        assert!((400..500).contains(&status), "{path}: {status}");
    }
    assert_eq!(agent.send("POST", "/process/execute", "", &vec![b' '; 65 << 20]).code(), "PAYLOAD_TOO_LARGE");
}

#[test]
fn who_asks_before_sending_is_answered_at_once() {
    let agent = Agent::new();
    let mut stream = agent.connect();
    stream
        .write_all(
            b"POST /files/upload-v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
              Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
        )
        .expect("written");
    assert_eq!(read(stream).status, 400);
}

#[test]
fn transfers_leave_no_memory_behind() {
    let agent = Agent::new();
    let content = vec![7; 32 << 20];
    let private = || {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", agent.child.id())).expect("the agent runs");
        let dirty = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).expect("as in proc(5)");
        dirty.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
    };
    let transfer = |content: &[u8]| {
        assert_eq!(agent.send("POST", "/files/upload-v2?path=f", "", content).status, 200);
        assert_eq!(agent.get("/files/download?path=f").body.len(), content.len());
    };
    transfer(b"small");
    let before = private();
    transfer(&content);
    // The last buffers go when the agent has seen that the client has everything.
    let deadline = Instant::now() + Duration::from_secs(5);
    while let after = private()
        && after >= before + 768
    {
        assert!(Instant::now() < deadline, "{before} KiB became {after}");
        std::thread::yield_now();
    }
}

/// An upload of which half has arrived, and is held back.
fn half_an_upload(agent: &Agent, path: &str, half: &[u8], length: usize) -> UnixStream {
    let mut stream = agent.connect();
    let head = "HTTP/1.1\r\nHost: x\r\nConnection: close";
    write!(stream, "POST /files/upload-v2?path={path} {head}\r\nContent-Length: {length}\r\n\r\n").expect("written");
    stream.write_all(half).expect("written");
    let held = half.len() as u64;
    wait_until("the half is held back", || unnamed(agent).contains(&held));
    stream
}

/// The sizes of the files without a name that the agent has open.
fn unnamed(agent: &Agent) -> Vec<u64> {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", agent.child.id())).expect("the agent runs");
    let files = descriptors.filter_map(|entry| fs::metadata(entry.ok()?.path()).ok());
    files.filter(|file| file.is_file() && file.nlink() == 0).map(|file| file.len()).collect()
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

fn names(agent: &Agent) -> Vec<String> {
    let entries = fs::read_dir(agent.work()).expect("a directory");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect()
}

#[test]
fn a_new_file_is_seen_only_whole() {
    let agent = Agent::new();
    let mut stream = half_an_upload(&agent, "f", b"half", 8);
    assert!(names(&agent).is_empty(), "neither the file nor a temporary one: {:?}", names(&agent));
    stream.write_all(b"full").expect("written");
    assert_eq!(read(stream).status, 200);
    assert_eq!(fs::read(agent.work().join("f")).expect("there"), b"halffull");
    assert_eq!(names(&agent), ["f"]);
}

#[test]
fn a_replaced_file_is_old_until_it_is_new() {
    let agent = Agent::new();
    let file = agent.work().join("f");
    fs::write(&file, "the old one").expect("written");
    let inode = fs::metadata(&file).expect("there").ino();
    let mut stream = half_an_upload(&agent, "f", b"half", 8);
    assert_eq!(fs::read(&file).expect("there"), b"the old one");
    stream.write_all(b"full").expect("written");
    assert_eq!(read(stream).status, 200);
    assert_eq!(fs::read(&file).expect("there"), b"halffull");
    assert_eq!(fs::metadata(&file).expect("there").ino(), inode);
}

#[test]
fn a_file_that_appears_meanwhile_is_replaced() {
    let agent = Agent::new();
    let file = agent.work().join("f");
    let mut stream = half_an_upload(&agent, "f", b"half", 8);
    fs::write(&file, "somebody else's").expect("written");
    stream.write_all(b"full").expect("written");
    assert_eq!(read(stream).status, 200);
    assert_eq!(fs::read(&file).expect("there"), b"halffull");
}

/// A thread that opens and reads a file again and again, and says what it found beside the contents that are whole.
struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<usize>)>,
}

impl Reader {
    fn start(file: PathBuf, whole: Vec<Vec<u8>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut read, mut broken) = (0, Vec::new());
            while !asked.load(Ordering::Relaxed) {
                let content = fs::read(&file).expect("there is always one");
                read += 1;
                if !whole.contains(&content) {
                    broken.push(content.len());
                }
            }
            (read, broken)
        });
        Self { stop, thread }
    }

    /// How often it read, and the lengths of what was not whole.
    fn end(self) -> (usize, Vec<usize>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it does not panic")
    }
}

#[test]
fn no_reader_sees_a_mixture() {
    let agent = Agent::new();
    let file = agent.work().join("f");
    for length in [20, 500_000] {
        let contents: Vec<Vec<u8>> = (0..2).map(|which| vec![b'a' + which; length + which as usize * 7]).collect();
        fs::write(&file, &contents[0]).expect("written");
        let readers = [(); 2].map(|()| Reader::start(file.clone(), contents.clone()));
        for turn in 0..100 {
            let new = &contents[turn % 2];
            assert_eq!(agent.send("POST", "/files/upload-v2?path=f", "", new).status, 200);
            let read = agent.get("/files/download?path=f").body;
            assert_eq!(read, *new, "turn {turn}");
        }
        for reader in readers {
            let (read, broken) = reader.end();
            assert!(read > 10 && broken.is_empty(), "of {read} reads these were broken: {broken:?}");
        }
    }
    assert_eq!(names(&agent), ["f"]);
}

#[test]
fn who_reads_goes_on_with_what_was_opened() {
    let agent = Agent::new();
    let file = agent.work().join("f");
    fs::write(&file, "the old one").expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4750)).expect("changed");
    let mut opened = fs::File::open(&file).expect("there");
    assert_eq!(agent.send("POST", "/files/upload-v2?path=f", "", b"new").status, 200);
    let mut old = String::new();
    opened.read_to_string(&mut old).expect("read");
    assert_eq!((old.as_str(), fs::read(&file).expect("there").as_slice()), ("the old one", &b"new"[..]));
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o7777, 0o4750);
    assert_eq!(names(&agent), ["f"]);
}

#[test]
fn writers_and_other_names_keep_the_file() {
    let agent = Agent::new();
    let file = agent.work().join("f");
    fs::write(&file, "the old one").expect("written");
    let inode = || fs::metadata(&file).expect("there").ino();
    let before = inode();
    let mut writer = fs::File::options().append(true).open(&file).expect("there");
    assert_eq!(agent.send("POST", "/files/upload-v2?path=f", "", b"new").status, 200);
    writer.write_all(b" and more").expect("written");
    drop(writer);
    assert_eq!(fs::read(&file).expect("there"), b"new and more");
    fs::hard_link(&file, agent.work().join("g")).expect("linked");
    let reader = fs::File::open(&file).expect("there");
    assert_eq!(agent.send("POST", "/files/upload-v2?path=f", "", b"newer").status, 200);
    drop(reader);
    assert_eq!(fs::read(agent.work().join("g")).expect("there"), b"newer");
    assert_eq!(inode(), before);
}

#[test]
fn a_large_file_is_old_until_it_is_new() {
    let agent = Agent::new();
    let file = agent.work().join("f");
    fs::write(&file, "the old one").expect("written");
    let content: Vec<u8> = (0..(64 << 20) / 4 + 10_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut stream = half_an_upload(&agent, "f", &content[..1 << 20], content.len());
    stream.write_all(&content[1 << 20..content.len() - 1]).expect("written");
    wait_until("all but a byte is held back", || unnamed(&agent).contains(&(content.len() as u64 - 1)));
    assert_eq!(fs::read(&file).expect("there"), b"the old one");
    stream.write_all(&content[content.len() - 1..]).expect("written");
    assert_eq!(read(stream).status, 200);
    assert!(fs::read(&file).expect("there") == content, "another content");
}

#[test]
fn a_program_that_runs_can_be_replaced() {
    let agent = Agent::new();
    let file = agent.work().join("program");
    fs::copy("/bin/sleep", &file).expect("copied");
    let mut running = Command::new(&file).arg("60").spawn().expect("started");
    assert_eq!(agent.send("POST", "/files/upload-v2?path=program", "", b"new").status, 200);
    running.kill().and_then(|()| running.wait()).expect("ended");
    let metadata = fs::metadata(&file).expect("there");
    assert_eq!((metadata.len(), metadata.permissions().mode() & 0o111), (3, 0o111));
}

#[test]
fn a_text_is_replaced_for_every_reader_at_once() {
    let agent = Agent::new();
    let file = agent.work().join("f");
    let contents = ["one ".repeat(50_000), "three ".repeat(50_000)];
    fs::write(&file, &contents[0]).expect("written");
    let reader = Reader::start(file.clone(), contents.iter().map(|text| text.as_bytes().to_vec()).collect());
    for turn in 0..60 {
        let (old, new) = if turn % 2 == 0 { ("one", "three") } else { ("three", "one") };
        let answer = agent.post("/files/replace", &json!({"files": ["f"], "pattern": old, "newValue": new}));
        assert_eq!(answer.json()[0]["success"], true, "{}", answer.text());
    }
    let (read, broken) = reader.end();
    assert!(read > 10 && broken.is_empty(), "of {read} reads these were broken: {broken:?}");
}

#[test]
fn files_that_state_a_wrong_length_come_as_they_are() {
    let agent = Agent::new();
    for path in ["/sys/class/net/lo/mtu", "/proc/self/status", "/proc/filesystems"] {
        let there = fs::read(path).expect("as on every Linux");
        let answer = agent.get(&format!("/files/download?path={path}"));
        let length = answer.header("content-length").map(str::to_owned);
        assert_eq!((answer.status, length), (200, Some(answer.body.len().to_string())), "{path}");
        assert!(path.contains("self") || answer.body == there, "{path}: {}", answer.text());
    }
    fs::write(agent.work().join("after"), "whole").expect("written");
    let answer = agent.post("/files/bulk-download", &json!({"paths": ["/sys/class/net/lo/mtu", "after"]}));
    let text = answer.text();
    let mtu = fs::read_to_string("/sys/class/net/lo/mtu").expect("as on every Linux");
    assert!(text.contains(&format!("Content-Length: {}\r\n\r\n{mtu}\r\n--", mtu.len())), "{text}");
    assert!(text.contains("Content-Length: 5\r\n\r\nwhole\r\n--"), "{text}");
}

/// Downloads while the file gets another length: begins, lets `change` happen, and reads the rest.
fn download_across(agent: &Agent, request: &[u8], change: impl FnOnce()) -> Answer {
    let mut stream = agent.connect();
    stream.write_all(request).expect("written");
    let mut first = [0; 1];
    stream.read_exact(&mut first).expect("an answer begins");
    change();
    read(std::io::Cursor::new(first).chain(stream))
}

#[test]
fn a_file_that_is_being_written_is_framed_as_it_comes() {
    let agent = Agent::new();
    let path = agent.work().join("log");
    fs::write(&path, vec![b'x'; 64 << 20]).expect("written");
    let writer = fs::File::options().write(true).open(&path).expect("there");
    let request = b"GET /files/download?path=log HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = download_across(&agent, request, || writer.set_len(1 << 20).expect("cut"));
    assert_eq!((answer.status, answer.header("content-length")), (200, None));
    assert!(answer.body.len() >= 1 << 20 && answer.body.len() < 64 << 20, "{}", answer.body.len());
    writer.set_len(64 << 20).expect("grown");
    fs::write(agent.work().join("after"), "whole").expect("written");
    let body = r#"{"paths":["log","after"]}"#;
    let request = format!(
        "POST /files/bulk-download HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = download_across(&agent, request.as_bytes(), || writer.set_len(1 << 20).expect("cut"));
    assert!(answer.body.ends_with(b"--\r\n"), "the last boundary is there");
    let end = String::from_utf8_lossy(&answer.body[answer.body.len() - 400..]).into_owned();
    assert!(end.contains("\r\n\r\nwhole\r\n--"), "{end}");
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    let agent = Agent::new();
    fs::write(agent.work().join("old"), "kept").expect("written");
    for path in ["new", "old"] {
        drop(half_an_upload(&agent, path, b"half", 100));
        wait_until("the half is gone", || unnamed(&agent).is_empty());
    }
    assert_eq!(names(&agent), ["old"]);
    assert_eq!(fs::read(agent.work().join("old")).expect("there"), b"kept");
}

#[test]
fn a_full_disk_is_told_and_survived() {
    let agent = Agent::new();
    // Writing to it always fails as on a full disk.
    symlink("/dev/full", agent.work().join("full")).expect("linked");
    let answer = agent.send("POST", "/files/upload-v2?path=full", "", &[0; 100_000]);
    assert_eq!((answer.status, answer.code().as_str()), (507, "INSUFFICIENT_STORAGE"));
    assert!(answer.json()["message"].as_str().is_some_and(|message| message.contains("no space left on device")));
    let answer =
        bulk(&agent, &[(&path_part(0), "full"), (&file_part(0), "x"), (&path_part(1), "ok"), (&file_part(1), "y")]);
    assert_eq!(answer.status, 400);
    assert!(answer.json()["errors"][0].as_str().is_some_and(|error| error.starts_with("full: the disk is full")));
    assert_eq!(agent.get("/files/download?path=ok").body, b"y");
}

#[test]
fn downloads_and_ranges() {
    let agent = Agent::new();
    fs::write(agent.work().join("f"), "0123456789").expect("written");
    let whole = agent.get("/files/download?path=f");
    assert_eq!((whole.status, whole.body.as_slice()), (200, &b"0123456789"[..]));
    assert_eq!(whole.header("content-length"), Some("10"));
    assert_eq!(whole.header("content-type"), Some("application/octet-stream"));
    assert!(whole.header("content-disposition").is_some_and(|value| value.contains("filename=\"f\"")));
    let range = |header: &str| agent.send("GET", "/files/download?path=f", &format!("Range: {header}\r\n"), b"");
    let part = range("bytes=2-4");
    assert_eq!(
        (part.status, part.body.as_slice(), part.header("content-range")),
        (206, &b"234"[..], Some("bytes 2-4/10"))
    );
    assert_eq!(range("bytes=-3").body, b"789");
    assert_eq!((range("bytes=10-").status, range("bytes=10-").header("content-range")), (416, Some("bytes */10")));
    assert_eq!(range("nonsense").status, 200);
    let empty = agent.work().join("empty");
    fs::write(&empty, "").expect("written");
    assert_eq!(agent.get("/files/download?path=empty").body, b"");
    assert!(agent.get("/files/download?path=/proc/self/status").text().contains("sebring-agent"));
    assert_eq!(agent.get("/files/download?path=none").code(), "FILE_NOT_FOUND");
    assert_eq!(agent.get("/files/download?path=.").code(), "INVALID_FILE_PATH");
    assert_eq!(agent.get("/files/download?path=/dev/zero").code(), "INVALID_FILE_PATH");
}

#[test]
fn bulk_downloads() {
    let agent = Agent::new();
    fs::write(agent.work().join("x y"), "hello").expect("written");
    let answer = agent.post("/files/bulk-download", &json!({"paths": ["x y", "none", "."]}));
    let boundary = answer.header("content-type").and_then(|kind| kind.strip_prefix("multipart/form-data; boundary="));
    let text = answer.text();
    let delimiter = format!("--{}", boundary.expect("a boundary"));
    let parts: Vec<&str> = text.split(&delimiter).collect();
    assert_eq!(
        parts[1],
        "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x y\"; filename*=utf-8''x%20y\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: 5\r\n\r\nhello\r\n"
    );
    assert!(parts[2].contains("name=\"error\"; filename=\"none\"") && parts[2].contains("\"FILE_NOT_FOUND\""));
    assert!(parts[3].contains("\"INVALID_FILE_PATH\""));
    assert_eq!(parts[4], "--\r\n");
    assert_eq!(agent.post("/files/bulk-download", &json!({"paths": []})).status, 400);
}

#[test]
fn large_files_take_little_memory() {
    const SIZE: usize = 200 << 20;
    let agent = Agent::new();
    let peak = || {
        let status = fs::read_to_string(format!("/proc/{}/status", agent.child.id())).expect("the agent runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak").to_owned();
        line.split_whitespace().nth(1).and_then(|kibibytes| kibibytes.parse::<usize>().ok()).expect("a number")
    };
    let before = peak();
    let block = vec![7; 1 << 20];
    let mut stream = agent.connect();
    write!(
        stream,
        "POST /files/upload-v2?path=big HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {SIZE}\r\n\r\n"
    )
    .expect("written");
    for _ in 0..SIZE / block.len() {
        stream.write_all(&block).expect("the agent reads");
    }
    assert_eq!(read(stream).status, 200);
    let mut stream = agent.connect();
    stream
        .write_all(b"GET /files/download?path=big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("written");
    let mut buffer = vec![0; 1 << 20];
    let mut received = 0;
    loop {
        match stream.read(&mut buffer).expect("a body") {
            0 => break,
            length => received += length,
        }
    }
    assert!(received > SIZE);
    assert!(peak() - before < 8 * 1024, "{} KiB more", peak() - before);
}
