//! Entries for `dev/fuzz`: each feeds bytes as the untrusted side may send them to one parser, and panics when what
//! comes out cannot be right. What arrives in pieces must come out as if it had arrived at once.

use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;

use crate::files::multipart::{self, Multipart, MultipartError, Part};
use crate::files::range;
use crate::git::records::Records;
use crate::git::running::Outcome;
use crate::git::{failure, history, remotes, status, url};
use crate::guest::accounts::Accounts;
use crate::http::query::Query;
use crate::http::routes;
use crate::lsp::{completions, symbols, wire as lsp};
use crate::process::children::Exit;
use crate::process::interpreter::wire as interpreter;
use crate::process::ledger::{Channel, Keep, Ledger, Piece};
use crate::process::pty::api::offered_environment;
use crate::process::text::Decoder;

/// The first byte chooses the size of the pieces that the others come in.
fn pieces(bytes: &[u8]) -> (std::slice::Chunks<'_, u8>, &[u8]) {
    let (size, bytes) = bytes.split_first().map_or((1, bytes), |(size, bytes)| (usize::from(*size).max(1), bytes));
    (bytes.chunks(size), bytes)
}

/// Uploads: the boundary of a content type, which is the first line, and the body behind it.
pub fn multipart(bytes: &[u8]) {
    let at = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    let (content_type, body) = bytes.split_at(at);
    let boundary = multipart::boundary(&String::from_utf8_lossy(content_type));
    let boundary = boundary.and_then(Result::ok).unwrap_or_else(|| "B".to_owned());
    let (chunks, whole) = pieces(body);
    assert_eq!(read_form(&boundary, chunks), read_form(&boundary, whole.chunks(whole.len().max(1))));
}

fn read_form<'a>(
    boundary: &str,
    mut pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<(Part, Vec<u8>)>, Option<MultipartError>) {
    let mut form = Multipart::new(boundary, || pieces.next().map(Bytes::copy_from_slice));
    let mut parts = Vec::new();
    loop {
        match form.next_part() {
            Ok(Some(part)) => parts.push((part, Vec::new())),
            Ok(None) => return (parts, None),
            Err(error) => return (parts, Some(error)),
        }
        loop {
            match (form.content(), parts.last_mut()) {
                (Ok(Some(content)), Some((_, whole))) => whole.extend_from_slice(&content),
                (Err(error), _) => return (parts, Some(error)),
                _ => break,
            }
        }
    }
}

/// The `Range` header of a download, behind eight bytes of the file's length.
pub fn range(bytes: &[u8]) {
    let Some((length, header)) = bytes.split_first_chunk() else { return };
    let length = u64::from_le_bytes(*length);
    if let Ok(Some(range)) = range::parse(Some(&String::from_utf8_lossy(header)), length) {
        assert!(range.start < range.end && range.end <= length, "{range:?}");
    }
}

/// Paths and queries of requests.
pub fn request(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (path, query) = text.split_once('?').unwrap_or((&text, ""));
    if let Ok(segments) = routes::segments(path) {
        assert_eq!(segments.len(), path.trim_matches('/').split('/').count(), "a decoded slash is no separator");
    }
    let query = Query::parse(Some(query));
    let _ = (query.flag("recursive"), query.parsed::<usize>("depth"), query.required("path"));
}

/// Variables of a terminal, as a protocol that its client offers.
pub fn pty_environment(bytes: &[u8]) {
    let offered: Vec<String> = String::from_utf8_lossy(bytes).split(',').map(str::to_owned).collect();
    let _ = offered_environment(&offered);
}

/// What git writes, for each thing that is read from it.
pub fn git(bytes: &[u8]) {
    let (chunks, whole) = pieces(bytes);
    assert_eq!(read_status(chunks), read_status(std::iter::once(whole)));
    Records::default().push(whole, |record| {
        if let Some(commit) = history::serialize(record) {
            serde_json::from_slice::<serde_json::Value>(&commit).expect("a commit is JSON");
        }
    });
    remotes::parse(whole);
    let text = String::from_utf8_lossy(whole);
    let (shown, _) = url::without_login(&text);
    let _ = url::origin(&shown);
    let outcome = Outcome {
        operation: "clone".to_owned(),
        exit: Exit::Code(1),
        stdout: whole.to_vec(),
        messages: url::scrub(&text),
    };
    assert!(failure::of(&outcome).message.len() < 4096, "messages are short");
}

fn read_status<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> status::Status {
    let (mut records, mut parser) = (Records::default(), status::Parser::default());
    pieces.for_each(|piece| records.push(piece, |record| parser.take(record)));
    parser.status
}

/// What language servers write: frames, and the answers in them.
pub fn language_server(bytes: &[u8]) {
    let (chunks, whole) = pieces(bytes);
    let messages = read_messages(chunks);
    assert_eq!(messages, read_messages(std::iter::once(whole)));
    for message in messages.0.iter().map(|message| &message[..]).chain([whole]) {
        let _ = serde_json::from_slice::<lsp::Incoming<'_>>(message);
        if let Ok(answer) = serde_json::from_slice::<&RawValue>(message) {
            let _ = (symbols::parse(answer, "file:///x"), completions::CompletionList::parse(answer));
        }
    }
}

fn read_messages<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Bytes>, bool) {
    let (mut buffer, mut messages) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match lsp::decode(&mut buffer) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(_) => return (messages, false),
            }
        }
    }
    (messages, true)
}

/// What an interpreter's driver writes: reports, and output as text.
pub fn interpreter(bytes: &[u8]) {
    let (chunks, whole) = pieces(bytes);
    assert_eq!(read_reports(chunks.clone()), read_reports(std::iter::once(whole)));
    let mut decoder = Decoder::default();
    let mut text: String = chunks.map(|piece| decoder.decode(piece)).collect();
    text.push_str(decoder.finish());
    assert_eq!(text, String::from_utf8_lossy(whole));
}

fn read_reports<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<String>>, bool) {
    let (mut buffer, mut reports) = (Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match interpreter::decode(&mut buffer) {
                Ok(Some(report)) => reports.push(report),
                Ok(None) => break,
                Err(_) => return (reports, false),
            }
        }
    }
    (reports, true)
}

/// A ledger that keeps little: whoever reads along misses nothing, and who comes late gets the end.
pub fn ledger(bytes: &[u8]) {
    const LIMIT: usize = 1024;
    let ledger = Ledger::new(Keep::Newest, LIMIT);
    let (chunks, whole) = pieces(bytes);
    let (mut position, mut read) = (0, Vec::new());
    for (number, chunk) in chunks.enumerate() {
        ledger.append(if number % 3 == 0 { Channel::Stderr } else { Channel::Stdout }, chunk);
        while let Some(Piece::Output(_, bytes)) = ledger.read(&mut position) {
            read.extend(bytes);
        }
        assert!(ledger.kept() <= LIMIT, "{} bytes are kept", ledger.kept());
    }
    assert_eq!(read, whole);
    ledger.close();
    let (mut late, mut kept, mut gone) = (0, Vec::new(), 0);
    loop {
        match ledger.read(&mut late) {
            Some(Piece::Output(_, bytes)) => kept.extend(bytes),
            Some(Piece::Gap(bytes)) => gone += bytes,
            None | Some(Piece::End) => break,
        }
    }
    assert_eq!(gone + kept.len() as u64, whole.len() as u64);
    assert!(whole.ends_with(&kept));
    let line = ledger.recent_line(LIMIT as u64 / 2);
    assert!(line <= ledger.end() && line >= gone);
    assert!(ledger.texts().output.len() >= kept.len());
}

/// `/etc/passwd` and `/etc/group` of an image, with an empty line between them.
pub fn accounts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (passwd, group) = text.split_once("\n\n").unwrap_or((&text, &text));
    let accounts = Accounts::parse(passwd, group);
    if let Some(account) = accounts.find("0") {
        assert!(accounts.user_id(&account.name).is_some());
    }
    let _ = (accounts.supplementary_groups("daytona"), accounts.group_id("sudo"), accounts.names().user(0));
}
