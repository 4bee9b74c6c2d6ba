//! The conversation with a language server: requests and their answers in any order, over the pipes of its process.
//!
//! A task owns the process ([`Driver`]). It never waits for the server to read before it reads itself, so neither
//! side can hold up the other. Whatever ends the conversation also ends the process, with everything it started.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::editor::{self, Folder};
use super::wire::{self, Error, Incoming};
use crate::http::error::Failure;
use crate::process::children::Exit;
use crate::process::job::Job;
use crate::shared::Shared;

/// For a polite end.
const FAREWELL: Duration = Duration::from_secs(2);
/// Messages that wait for the driver.
const WAITING: usize = 8;
/// While more than this waits for the server to read, callers wait.
const LARGEST_OUTBOX: usize = 1024 * 1024;
/// Of what the server says on standard error, the end is kept.
const LAST_WORDS: usize = 2048;
const CHUNK: usize = 32 * 1024;

pub type Reply = Result<Box<RawValue>, Error>;

/// The pipes of a server's process.
pub struct Pipes {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// Dropped, it ends the server.
pub struct Connection {
    /// The program, for messages.
    name: &'static str,
    commands: mpsc::Sender<Command>,
    next: AtomicI64,
    end: Arc<Shared<Option<String>>>,
}

enum Command {
    Send {
        message: Vec<u8>,
        reply: Option<(i64, oneshot::Sender<Reply>)>,
    },
    /// Nobody waits for this answer any more.
    Cancel(i64),
    Kill,
}

impl Connection {
    pub fn new(name: &'static str, job: Job, pipes: Pipes, folder: Folder) -> io::Result<Self> {
        let receiver = pipe::Receiver::from_owned_fd;
        let driver = Driver {
            job,
            folder,
            stdin: pipe::Sender::from_owned_fd(pipes.stdin)?,
            stdout: receiver(pipes.stdout)?,
            stderr: Some(receiver(pipes.stderr)?),
            inbox: BytesMut::new(),
            outbox: BytesMut::new(),
            pending: HashMap::new(),
            last_words: Vec::new(),
        };
        let (commands, receiver) = mpsc::channel(WAITING);
        let end = Arc::new(Shared::default());
        tokio::spawn(driver.run(name, receiver, Arc::clone(&end)));
        Ok(Self { name, commands, next: AtomicI64::new(1), end })
    }

    /// How the server ended, when it has.
    pub fn end(&self) -> Option<String> {
        self.end.lock().clone()
    }

    /// Asks for something, and waits as long as the caller does: a first look at a large project takes its time.
    /// Dropped before the answer, it tells the server so.
    pub async fn request<T: Serialize>(&self, method: &str, params: &T) -> Result<Box<RawValue>, Failure> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, reply) = oneshot::channel();
        self.send(wire::request(Some(id), method, params), Some((id, sender))).await?;
        let _cancel = Cancel { commands: &self.commands, id };
        match reply.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(Error { code, message })) => {
                Err(Failure::internal(format!("{} refused {method}: {message} (code {code})", self.name)))
            }
            Err(_) => Err(self.gone()),
        }
    }

    pub async fn notify<T: Serialize>(&self, method: &str, params: &T) -> Result<(), Failure> {
        self.send(wire::request(None, method, params), None).await
    }

    async fn send(&self, message: Vec<u8>, reply: Option<(i64, oneshot::Sender<Reply>)>) -> Result<(), Failure> {
        self.commands.send(Command::Send { message, reply }).await.map_err(|_| self.gone())
    }

    /// Ends the server: politely, then by force. Nothing of it runs afterwards.
    pub async fn stop(&self) {
        let farewell = async {
            self.request("shutdown", &()).await?;
            self.notify("exit", &()).await?;
            self.commands.closed().await;
            Ok::<(), Failure>(())
        };
        // A server that refuses or has ended meanwhile is killed as one that hangs.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
        let _ = self.commands.send(Command::Kill).await;
        self.commands.closed().await;
    }

    fn gone(&self) -> Failure {
        Failure::internal(self.end().unwrap_or_else(|| format!("{} has ended", self.name)))
    }
}

/// Without effect on a request that was answered.
struct Cancel<'a> {
    commands: &'a mpsc::Sender<Command>,
    id: i64,
}

impl Drop for Cancel<'_> {
    fn drop(&mut self) {
        // A full queue means that the answer comes unasked, and is thrown away.
        let _ = self.commands.try_send(Command::Cancel(self.id));
    }
}

struct Driver {
    job: Job,
    folder: Folder,
    stdin: pipe::Sender,
    stdout: pipe::Receiver,
    stderr: Option<pipe::Receiver>,
    inbox: BytesMut,
    outbox: BytesMut,
    pending: HashMap<i64, oneshot::Sender<Reply>>,
    last_words: Vec<u8>,
}

/// Why a conversation ended.
enum End {
    /// Asked for.
    Killed,
    /// The process has ended or closed its pipes.
    Gone,
    Nonsense,
}

impl Driver {
    async fn run(
        mut self,
        name: &'static str,
        mut commands: mpsc::Receiver<Command>,
        told: Arc<Shared<Option<String>>>,
    ) {
        let end = self.converse(&mut commands).await;
        // Also what it left behind.
        self.job.kill();
        let exit = self.job.wait().await;
        // All that was killed held standard error: it ends with the last of them. What evaded is not waited for.
        let _ = tokio::time::timeout(FAREWELL, self.hear_out()).await;
        let end = match (end, exit) {
            (End::Killed, _) => format!("{name} was stopped"),
            (End::Nonsense, _) => format!("{name} wrote something else than messages to its standard output"),
            (End::Gone, Exit::Code(code)) => format!("{name} has ended with exit code {code}"),
            (End::Gone, Exit::Signal(signal)) => format!("{name} has ended by signal {signal}"),
        };
        let last_words = String::from_utf8_lossy(&self.last_words);
        let last_words = last_words.trim();
        *told.lock() = Some(if last_words.is_empty() { end } else { format!("{end}, having said: {last_words}") });
        // With `self` the waiting requests end, and with `commands` those that come later.
    }

    /// Reads standard error to its end.
    async fn hear_out(&mut self) {
        while self.stderr.is_some() {
            readable(&self.stderr).await;
            self.hear();
        }
    }

    fn hear(&mut self) {
        if self.stderr.as_ref().and_then(|pipe| listen(pipe, &mut self.last_words)) == Some(0) {
            self.stderr = None;
        }
    }

    async fn converse(&mut self, commands: &mut mpsc::Receiver<Command>) -> End {
        loop {
            tokio::select! {
                command = commands.recv(), if self.outbox.len() < LARGEST_OUTBOX => match command {
                    Some(Command::Send { message, reply }) => {
                        self.outbox.extend_from_slice(&message);
                        self.pending.extend(reply);
                    }
                    Some(Command::Cancel(id)) => self.cancel(id),
                    Some(Command::Kill) | None => return End::Killed,
                },
                written = self.stdin.write(&self.outbox), if !self.outbox.is_empty() => match written {
                    Ok(length) => self.sent(length),
                    Err(_) => return End::Gone,
                },
                read = read(&mut self.stdout, &mut self.inbox) => match read {
                    Ok(1..) => if self.take_messages().is_err() {
                        return End::Nonsense;
                    },
                    _ => return End::Gone,
                },
                () = readable(&self.stderr), if self.stderr.is_some() => self.hear(),
                _ = self.job.wait() => return End::Gone,
            }
        }
    }

    fn sent(&mut self, length: usize) {
        self.outbox.advance(length);
        if self.outbox.is_empty() {
            // An idle server holds no memory of the agent for documents that it was sent.
            self.outbox = BytesMut::new();
        }
    }

    fn cancel(&mut self, id: i64) {
        if self.pending.remove(&id).is_some() {
            let message = wire::request(None, "$/cancelRequest", &serde_json::json!({ "id": id }));
            self.outbox.extend_from_slice(&message);
        }
    }

    fn take_messages(&mut self) -> Result<(), wire::Malformed> {
        while let Some(message) = wire::decode(&mut self.inbox)? {
            let message: Incoming<'_> = serde_json::from_slice(&message).map_err(|_| wire::Malformed)?;
            match (&message.method, message.id) {
                (Some(_), Some(id)) => {
                    let answer = wire::answer(id, editor::answer(&message, &self.folder));
                    self.outbox.extend_from_slice(&answer);
                }
                // Diagnostics, logs and progress: the toolbox API has no place for them.
                (Some(_), None) => {}
                (None, id) => self.take_answer(id.and_then(|id| id.get().parse().ok()), message),
            }
        }
        if self.inbox.is_empty() {
            self.inbox = BytesMut::new();
        }
        Ok(())
    }

    fn take_answer(&mut self, id: Option<i64>, message: Incoming<'_>) {
        // An answer to a cancelled request has no taker.
        let Some(waiting) = id.and_then(|id| self.pending.remove(&id)) else { return };
        let reply = match (message.error, message.result) {
            (Some(error), _) => Err(error),
            (None, Some(result)) => Ok(result.to_owned()),
            (None, None) => Ok(RawValue::NULL.to_owned()),
        };
        let _ = waiting.send(reply);
    }
}

async fn read(pipe: &mut pipe::Receiver, buffer: &mut BytesMut) -> io::Result<usize> {
    buffer.reserve(CHUNK);
    pipe.read_buf(buffer).await
}

async fn readable(pipe: &Option<pipe::Receiver>) {
    if let Some(pipe) = pipe {
        // An error shows again when it is read.
        let _ = pipe.readable().await;
    }
}

/// Reads once and keeps the end. None when nothing is there now, 0 when nothing will come.
fn listen(pipe: &pipe::Receiver, last_words: &mut Vec<u8>) -> Option<usize> {
    let mut chunk = [0; LAST_WORDS];
    match pipe.try_read(&mut chunk) {
        Ok(length) => {
            last_words.extend_from_slice(&chunk[..length]);
            last_words.drain(..last_words.len().saturating_sub(LAST_WORDS));
            Some(length)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(_) => Some(0),
    }
}
