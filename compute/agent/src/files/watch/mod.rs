//! `GET /files/watch?path=[&recursive=true]`: changes of a file, or in a directory, as server-sent events.
//!
//! Not part of the official API; `docs/toolbox-extensions.md` describes it to users. The stream begins with the event
//! `ready`, and every change from then on is an event ([`What`]) with a JSON object ([`Change`]). It ends when a
//! watched directory is removed, and after the event `error`.
//!
//! Each stream is a thread that waits for the kernel ([`watches`]), and ends when the client hangs up.

mod watches;

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::agent::Agent;
use crate::blocking;
use crate::http::body::Body;
use crate::http::error::{Failure, Kind};
use crate::http::request::Request;
use crate::http::response::{self, Response};
use watches::{Notice, WatchError, Watches};

/// Streams at a time, each a thread and one of the kernel's inotify instances.
const STREAMS: usize = 16;
/// Events that wait for a slow client; then the kernel keeps them, and in the end says that some are lost.
const WAITING: usize = 64;

type Sender = mpsc::Sender<io::Result<Bytes>>;

/// The name of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Made, or moved here from where nothing is watched.
    Create,
    /// Written or cut.
    Modify,
    /// Removed, or moved to where nothing is watched.
    Delete,
    Move,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Type {
    Directory,
    /// Everything else.
    File,
}

/// The data of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    #[serde(skip)]
    pub what: What,
    /// Absolute; after a move the new one.
    pub path: String,
    pub r#type: Type,
    /// Where it was before a move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// One of the streams that are allowed.
struct Place;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

impl Place {
    fn take() -> Result<Self, Failure> {
        if TAKEN.fetch_add(1, Ordering::Relaxed) < STREAMS {
            return Ok(Self);
        }
        TAKEN.fetch_sub(1, Ordering::Relaxed);
        Err(Failure::new(Kind::Unavailable, format!("{STREAMS} streams of changes are open already: close one")))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}

pub async fn watch(agent: &Agent, request: &Request) -> Result<Response, Failure> {
    let path = agent.resolve(request.query.get("path").unwrap_or(""));
    let recursive = request.query.flag("recursive")?;
    let place = Place::take()?;
    let watches =
        blocking::run(move || Watches::start(&path, recursive).map_err(|error| failure(&path, error))).await?;
    let (sender, events) = mpsc::channel(WAITING);
    let (stop, stopper) = io::pipe()?;
    let (ended, end) = oneshot::channel::<()>();
    let client = sender.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = client.closed() => drop(stopper),
            // The answer ends when the last sender is gone, this one too.
            _ = end => {}
        }
    });
    blocking::start(move || {
        tell(watches, &stop, &sender);
        drop((ended, place));
    })?;
    let mut response = response::with_status(StatusCode::OK, Body::Stream(events));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn failure(path: &std::path::Path, error: WatchError) -> Failure {
    match error {
        WatchError::File(error) => Failure::file(path, &error),
        error => Failure::new(Kind::Unavailable, format!("{error}: {}", path.display())),
    }
}

/// Sends events until the watching ends or the client goes, which closes the other end of `stop`.
fn tell(mut watches: Watches, stop: &impl AsFd, sender: &Sender) {
    let send = |text: String| sender.blocking_send(Ok(text.into())).is_ok();
    let event = |name: &str, data: &str| send(format!("event: {name}\ndata: {data}\n\n"));
    let mut going = event("ready", "{}");
    while going {
        let notices = match watches.next(stop) {
            Ok(notices) => notices,
            Err(error) => {
                event("error", &serde_json::json!({ "message": error.to_string() }).to_string());
                return;
            }
        };
        going = notices.iter().all(|notice| match notice {
            // Strings and words only: this cannot fail.
            Notice::Change(change) => event(change.what.name(), &serde_json::to_string(change).unwrap_or_default()),
            Notice::Overflow => event("overflow", "{}"),
            // A comment.
            Notice::Quiet => send(":\n\n".to_owned()),
            Notice::End => false,
        });
    }
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Modify => "modify",
            Self::Delete => "delete",
            Self::Move => "move",
        }
    }
}
