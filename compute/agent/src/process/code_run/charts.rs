//! The charts of an answer: copied from the file that the program wrote them to, for they can be large.
//!
//! The program writes one JSON value after the other. What is no JSON ends them: a program can write to any descriptor
//! of its own, and may be killed at any time.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use http::StatusCode;
use serde::de::IgnoredAny;
use tokio::sync::mpsc::{self, Sender};

use super::Answer;
use crate::blocking;
use crate::http::body::Body;
use crate::http::error::Failure;
use crate::http::response::{self, Response};

/// Of all charts of one run. `python.py` tells of those that are beyond it.
const LIMIT: u64 = 256 * 1024 * 1024;
/// Pieces that wait for a slow reader.
const PIECES: usize = 4;
const PIECE: u64 = 64 * 1024;
/// How the text of an answer without charts ends.
const END: &str = "]}}";

/// The answer with the charts in it.
pub fn answer(answer: &Answer, file: File) -> Result<Response, Failure> {
    let text = serde_json::to_string(answer)
        .map_err(|error| Failure::internal(format!("cannot write the answer: {error}")))?;
    let head = text.strip_suffix(END).map(str::to_owned);
    let head = head.ok_or_else(|| Failure::internal("the list of charts is not the end of the answer"))?;
    let (sender, receiver) = mpsc::channel(PIECES);
    blocking::start(move || {
        if let Err(error) = copy(head, file, &sender) {
            // It ends the connection: the reader knows that the answer is not whole. It may be gone itself.
            let _ = sender.blocking_send(Err(error));
        }
    })?;
    Ok(response::json_text(StatusCode::OK, Body::Stream(receiver)))
}

fn copy(head: String, mut file: File, sender: &Sender<io::Result<Bytes>>) -> io::Result<()> {
    let send = |bytes: Bytes| sender.blocking_send(Ok(bytes)).map_err(|_| io::ErrorKind::BrokenPipe);
    let ranges = find(&mut file)?;
    send(head.into())?;
    for (index, range) in ranges.into_iter().enumerate() {
        if index > 0 {
            send(Bytes::from_static(b","))?;
        }
        file.seek(SeekFrom::Start(range.start))?;
        let mut rest = range.end - range.start;
        while rest > 0 {
            let mut piece = vec![0; usize::try_from(rest.min(PIECE)).unwrap_or_default()];
            file.read_exact(&mut piece)?;
            rest -= piece.len() as u64;
            send(piece.into())?;
        }
    }
    send(Bytes::from_static(END.as_bytes()))?;
    Ok(())
}

/// Where the charts are.
fn find(file: &mut File) -> io::Result<Vec<Range<u64>>> {
    file.rewind()?;
    let mut ranges = Vec::new();
    let mut start = 0;
    let mut values = serde_json::Deserializer::from_reader(BufReader::new(file.take(LIMIT))).into_iter::<IgnoredAny>();
    while let Some(Ok(IgnoredAny)) = values.next() {
        let end = values.byte_offset() as u64;
        ranges.push(start..end);
        start = end;
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::shell::memory_file;

    #[test]
    fn whole_values_are_found() {
        let found = |text: &[u8]| {
            let mut file = memory_file(text).expect("a file");
            let ranges = find(&mut file).expect("a readable file");
            ranges.iter().map(|range| text[range.start as usize..range.end as usize].to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(found(b"{\"a\":1}\n{\"b\":[2]}\n{\"c"), [&b"{\"a\":1}"[..], b"\n{\"b\":[2]}"]);
        assert!(found(b"noise").is_empty() && found(b"").is_empty());
    }
}
