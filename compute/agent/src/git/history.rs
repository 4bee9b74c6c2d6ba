//! `GET /git/history`: the commits that lead to `HEAD`, as one JSON array.
//!
//! A history may be longer than the agent's memory: it is written while git reads it.

use std::io;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

use super::records::Records;
use super::repository::Repository;
use super::running::Running;
use crate::agent::Agent;
use crate::http::body::Body;
use crate::http::error::Failure;
use crate::http::response::{self, Response};

/// Hash, author, mail address, author's date (RFC 3339), message. Only the last one may have line breaks.
const FORMAT: &str = "--format=%H%n%an%n%ae%n%aI%n%B";
/// Pieces of an answer that wait for a slow reader.
const PIECES: usize = 2;

#[derive(Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitCommitInfo))]
pub struct Commit<'a> {
    hash: &'a str,
    author: &'a str,
    email: &'a str,
    timestamp: &'a str,
    message: &'a str,
}

pub async fn history(agent: &Agent, path: &str) -> Result<Response, Failure> {
    let repository = Repository::open(agent, path).await?;
    let options = ["--no-show-signature", "--no-color", "--no-patch", "--encoding=UTF-8", "-z", FORMAT];
    let git = repository.git(&[&["log"], &options[..]].concat());
    let mut commits = Commits { git: git.start()?, records: Records::default(), any: false };
    // Before the first commit it can still be told that there is none.
    let Some(first) = commits.next().await? else {
        let ended = commits.git.end(Vec::new()).await.success();
        return match ended {
            Err(failure) if !repository.is_unborn().await? => Err(failure),
            _ => response::json::<[(); 0]>(&[]),
        };
    };
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::spawn(commits.send(first, sender));
    let mut response = response::with_status(StatusCode::OK, Body::Stream(receiver));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The array, as it is made.
struct Commits {
    git: Running,
    records: Records,
    /// Whether it has begun.
    any: bool,
}

impl Commits {
    /// The next piece of the array that has a commit.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut json = Vec::new();
        while json.is_empty() {
            let Some(piece) = self.git.next().await? else { return Ok(None) };
            self.records.push(&piece, |record| {
                if let Some(commit) = serialize(record) {
                    json.push(if std::mem::replace(&mut self.any, true) { b',' } else { b'[' });
                    json.extend(commit);
                }
            });
        }
        Ok(Some(json))
    }

    /// Ends with git or the reader, whichever comes first. A failure ends the connection.
    async fn send(mut self, first: Vec<u8>, sender: mpsc::Sender<io::Result<Bytes>>) {
        let mut piece = first;
        loop {
            if sender.send(Ok(piece.into())).await.is_err() {
                return;
            }
            let next = tokio::select! {
                next = self.next() => next,
                () = sender.closed() => return,
            };
            piece = match next {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(error) => {
                    // The reader may be gone.
                    let _ = sender.send(Err(error)).await;
                    return;
                }
            };
        }
        let end = match self.git.end(Vec::new()).await.success() {
            Ok(_) => Ok(Bytes::from_static(b"]")),
            Err(failure) => Err(io::Error::other(failure.message)),
        };
        let _ = sender.send(end).await;
    }
}

/// None for what is no commit of [`FORMAT`].
pub fn serialize(record: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(record);
    let mut parts = text.splitn(5, '\n');
    let mut part = || parts.next();
    let commit = Commit {
        hash: part()?,
        author: part()?,
        email: part()?,
        timestamp: part()?,
        message: part()?.trim_end_matches('\n'),
    };
    serde_json::to_vec(&commit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_as_json() {
        let json = serialize(b"abc\nAda \"L\"\na@b\n2026-01-02T03:04:05Z\nSubject\n\nBody \xff\n").expect("a commit");
        let expected = r#"{"hash":"abc","author":"Ada \"L\"","email":"a@b","timestamp":"2026-01-02T03:04:05Z","message":"Subject\n\nBody �"}"#;
        assert_eq!(String::from_utf8_lossy(&json), expected);
        assert_eq!(serialize(b"abc\nAda"), None);
        assert!(serialize(b"\n\n\n\n").is_some());
    }
}
