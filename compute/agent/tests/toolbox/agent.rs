//! An agent in a scratch directory, and the least of an HTTP client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use sebring_types::agent::{AgentConfig, AgentReply, HANDSHAKE_FD, PROTOCOL};
use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// A test fails rather than waits for ever.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

pub struct Agent {
    pub directory: tempfile::TempDir,
    pub child: Child,
    shells: Option<PathBuf>,
}

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The error's code, after checking the shape that clients rely on.
    pub fn code(&self) -> String {
        let error = self.json();
        assert_eq!(error["statusCode"], self.status);
        assert_eq!(error["source"], "DAYTONA_DAEMON");
        assert!(!error["message"].as_str().expect("a message").is_empty());
        error["code"].as_str().expect("a code").to_owned()
    }
}

pub fn config(directory: &std::path::Path) -> AgentConfig {
    AgentConfig {
        protocol: PROTOCOL,
        sandbox_id: "test".into(),
        hostname: "test".into(),
        user: nix::unistd::Uid::current().to_string(),
        work_dir: Some(directory.join("work").to_string_lossy().into_owned()),
        env: [("FROM_CONFIG".to_owned(), "yes".to_owned())].into(),
        nameserver: None,
        address: None,
        entrypoint: Vec::new(),
        grace_seconds: 1,
    }
}

/// Starts the agent with one end of a socket pair, as the runner does.
pub fn start(directory: tempfile::TempDir, config: &[u8]) -> (Agent, Option<AgentReply>) {
    let (mut ours, theirs) = UnixStream::pair().expect("a socket pair");
    let theirs = OwnedFd::from(theirs);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sebring-agent"));
    command.arg("--socket").arg(directory.path().join("agent.sock"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let number = theirs.as_raw_fd();
    // SAFETY: dup2 is async-signal-safe, and the descriptor is open until the child exists.
    unsafe {
        command.pre_exec(move || match libc::dup2(number, HANDSHAKE_FD) {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    let child = command.spawn().expect("the agent starts");
    drop(theirs);
    ours.write_all(config).expect("the agent reads");
    ours.shutdown(Shutdown::Write).expect("an open socket");
    let mut reply = Vec::new();
    ours.read_to_end(&mut reply).expect("the agent answers");
    (Agent { directory, child, shells: None }, serde_json::from_slice(&reply).ok())
}

impl Agent {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// One whose shell is this program, as if it were the only one.
    pub fn with_shell(shell: &str, change: impl FnOnce(&mut AgentConfig)) -> Self {
        let shells = tempfile::tempdir().expect("a scratch directory").keep();
        let search = std::env::var("PATH").expect("a PATH");
        let found = search.split(':').map(|directory| PathBuf::from(directory).join(shell)).find(|path| path.exists());
        let found = found.unwrap_or_else(|| panic!("{shell} is not installed: the tests of sessions need it"));
        // The name that is looked for first.
        std::os::unix::fs::symlink(found, shells.join("zsh")).expect("a fresh path");
        let mut agent = Self::with(|config| {
            config.env.insert("PATH".to_owned(), format!("{}:/usr/bin:/bin", shells.display()));
            change(config);
        });
        agent.shells = Some(shells);
        agent
    }

    pub fn with(change: impl FnOnce(&mut AgentConfig)) -> Self {
        let directory = tempfile::tempdir().expect("a scratch directory");
        std::fs::create_dir(directory.path().join("work")).expect("a fresh directory");
        let mut config = config(directory.path());
        change(&mut config);
        let (agent, reply) = start(directory, &serde_json::to_vec(&config).expect("a configuration"));
        assert!(matches!(reply, Some(AgentReply::Ready { protocol: PROTOCOL, .. })), "{reply:?}");
        agent
    }

    pub fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.directory.path().join("agent.sock")).expect("the agent listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", b"")
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, "", b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, "Content-Type: application/json\r\n", body.to_string().as_bytes())
    }

    pub fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("the agent reads");
        stream.write_all(body).expect("the agent reads");
        read(stream)
    }

    pub fn execute(&self, command: &str) -> (i64, String) {
        let answer = self.post("/process/execute", &serde_json::json!({ "command": command }));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        (answer["exitCode"].as_i64().expect("a code"), answer["result"].as_str().expect("a text").to_owned())
    }

    pub fn websocket(&self, path: &str, protocols: &str) -> WebSocket<UnixStream> {
        let mut request = format!("ws://sandbox{path}").into_client_request().expect("a request");
        if !protocols.is_empty() {
            request.headers_mut().insert("Sec-WebSocket-Protocol", protocols.parse().expect("a header"));
        }
        tungstenite::client(request, self.connect()).expect("an upgrade").0
    }

    pub fn terminate(&mut self) -> ExitStatus {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("the agent runs");
        self.child.wait().expect("the agent ends")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.terminate();
        }
        self.shells.take().map(std::fs::remove_dir_all);
    }
}

/// Reads one answer to its end.
pub fn read(stream: impl Read) -> Answer {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status line");
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{line:?}"));
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a header");
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    if answer.header("transfer-encoding") == Some("chunked") {
        loop {
            line.clear();
            reader.read_line(&mut line).expect("a chunk's size");
            let size = u64::from_str_radix(line.trim(), 16).expect("a size");
            (&mut reader).take(size).read_to_end(&mut answer.body).expect("a chunk");
            line.clear();
            reader.read_line(&mut line).expect("a chunk's end");
            if size == 0 {
                break;
            }
        }
    } else {
        reader.read_to_end(&mut answer.body).expect("a body");
    }
    answer
}

/// The messages up to the close frame, and its code and reason.
pub fn drain(socket: &mut WebSocket<UnixStream>) -> (Vec<Message>, u16, String) {
    let mut messages = Vec::new();
    loop {
        match socket.read().expect("a message") {
            Message::Close(frame) => {
                let frame = frame.expect("a reason");
                return (messages, frame.code.into(), frame.reason.to_string());
            }
            message => messages.push(message),
        }
    }
}

/// Whether a process runs: it exists and is no zombie.
pub fn runs(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or("Z").starts_with('Z'))
}
