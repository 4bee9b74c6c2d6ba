//! `GET /files/download`: one file, whole or a range of it.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use http::header::{ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::chunks::Sink;
use super::range::{self, Range};
use crate::agent::Agent;
use crate::blocking;
use crate::http::body::Body;
use crate::http::error::{Failure, Kind};
use crate::http::request::Request;
use crate::http::response::{self, Response};

/// What is encoded in an `attr-char` value, RFC 8187.
pub const ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

pub async fn download(agent: &Agent, request: &Request) -> Result<Response, Failure> {
    let path = agent.resolve(request.query.required("path")?);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (mut file, metadata) = blocking::run(move || open(&path)).await?;
    let length = metadata.len();
    let range = match range::parse(request.header(RANGE), length) {
        Ok(range) => range,
        Err(range::Unsatisfiable) if length > 0 => return unsatisfiable(length),
        Err(range::Unsatisfiable) => None,
    };
    let (sink, pieces) = Sink::new();
    let Range { start, end } = range.unwrap_or(Range { start: 0, end: length });
    blocking::start(move || {
        // Interrupted by the reader, who needs to know nothing, or told to it by the sink.
        let _ = match (file.seek(SeekFrom::Start(start)), length) {
            (Ok(_), 0) => sink.to_end(&mut file),
            (Ok(_), _) => sink.exactly(&mut file, end - start),
            (Err(_), _) => Ok(()),
        };
    })?;
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut response = response::with_status(status, Body::Stream(pieces));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_DISPOSITION, header(format!("attachment; {}", file_name_parameters(&name)))?);
    // A file of the kernel says 0 and has content all the same.
    if length > 0 {
        headers.insert(CONTENT_LENGTH, (end - start).into());
    }
    if range.is_some() {
        headers.insert(CONTENT_RANGE, header(format!("bytes {start}-{}/{length}", end - 1))?);
    }
    Ok(response)
}

/// Opens a regular file; anything else has no content to download, and might never end.
pub fn open(path: &Path) -> Result<(File, Metadata), Failure> {
    let failure = |error| Failure::file(path, &error);
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failure)?;
    let metadata = file.metadata().map_err(failure)?;
    if metadata.is_dir() {
        return Err(failure(std::io::ErrorKind::IsADirectory.into()));
    }
    if !metadata.is_file() {
        return Err(Failure::new(Kind::InvalidFilePath, format!("is no regular file: {}", path.display())));
    }
    Ok((file, metadata))
}

/// `filename` for old readers, without what they trip over, and `filename*` with every byte.
fn file_name_parameters(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(
            |letter| {
                if letter.is_ascii_graphic() && !matches!(letter, '"' | '\\') || letter == ' ' { letter } else { '_' }
            },
        )
        .collect();
    format!("filename=\"{plain}\"; filename*=utf-8''{}", utf8_percent_encode(name, ATTRIBUTE))
}

fn unsatisfiable(length: u64) -> Result<Response, Failure> {
    let failure = Failure::new(Kind::RangeNotSatisfiable, format!("the file has {length} bytes"));
    let mut response = response::with_status(failure.kind.status(), failure.body(None).into());
    response.headers_mut().insert(CONTENT_RANGE, header(format!("bytes */{length}"))?);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn header(text: String) -> Result<HeaderValue, Failure> {
    HeaderValue::try_from(text).map_err(|error| Failure::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_their_header() {
        assert_eq!(
            file_name_parameters("dir/x y\"\n\u{fc}.txt"),
            "filename=\"dir/x y___.txt\"; filename*=utf-8''dir%2Fx%20y%22%0A%C3%BC.txt"
        );
    }
}
