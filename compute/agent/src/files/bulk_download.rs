//! `POST /files/bulk-download`: many files in one multi-part answer.
//!
//! One part for each path, in the order asked: the content, or an error. Clients find their file by the part's
//! `filename*`, or `filename` where they know no better, which is the path as they gave it.

use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderValue;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;

use super::chunks::{Interrupted, Sink};
use super::download::ATTRIBUTE;
use super::regular::{Content, Regular};
use crate::agent::Agent;
use crate::blocking;
use crate::http::body::Body;
use crate::http::error::Failure;
use crate::http::request::Request;
use crate::http::response::{self, Response};

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = FilesDownloadRequest))]
#[serde(deny_unknown_fields)]
pub struct BulkDownload {
    paths: Vec<String>,
}

pub async fn download(agent: Arc<Agent>, request: Request) -> Result<Response, Failure> {
    let BulkDownload { paths } = request.json().await?;
    if paths.is_empty() {
        return Err(Failure::bad_request("paths is empty: name at least one file"));
    }
    let (sink, pieces) = Sink::new();
    let boundary = boundary();
    let content_type = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}"))
        .map_err(|error| Failure::internal(error.to_string()))?;
    blocking::start(move || {
        // Broken off by the reader, who needs to know nothing, or told to it by the sink.
        let _ = paths
            .iter()
            .try_for_each(|name| part(&sink, &boundary, agent.resolve(name), name))
            .and_then(|()| sink.text(format!("--{boundary}--\r\n")));
    })?;
    let mut response = response::with_status(StatusCode::OK, Body::Stream(pieces));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(response)
}

/// New for each answer: readers search the content for it, and no file may hold it by design.
fn boundary() -> String {
    let mut boundary = String::from("file-boundary-");
    for _ in 0..2 {
        let _ = write!(boundary, "{:016x}", RandomState::new().build_hasher().finish());
    }
    boundary
}

/// The name of a part, twice: readers that ignore `filename*`, as multipart bodies allow (RFC 7578 section 4.2), take
/// the header for UTF-8 and its characters for bytes, so `filename` holds each byte as the character of that number.
/// What no header can hold is an underscore there.
fn name_parameters(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' => plain.extend(['\\', char::from(byte)]),
            0..0x20 | 0x7f => plain.push('_'),
            byte => plain.push(char::from(byte)),
        }
    }
    format!("filename=\"{plain}\"; filename*=utf-8''{}", utf8_percent_encode(name, ATTRIBUTE))
}

fn part(sink: &Sink, boundary: &str, path: PathBuf, name: &str) -> Result<(), Interrupted> {
    let parameters = name_parameters(name);
    match content(&path, name) {
        Ok(content) => {
            let length = match &content {
                Content::Short(all) => Some(all.len() as u64),
                Content::Long(_, length) => *length,
            };
            // For those who show progress; where the content ends the boundary tells.
            let length_line = length.map(|length| format!("Content-Length: {length}\r\n")).unwrap_or_default();
            sink.text(format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; {parameters}\r\n\
                 Content-Type: application/octet-stream\r\n{length_line}\r\n"
            ))?;
            match content {
                Content::Short(all) => sink.bytes(all)?,
                Content::Long(mut file, length) => drop(sink.at_most(&mut file, length.unwrap_or(u64::MAX))?),
            }
        }
        Err(failure) => {
            let body = String::from_utf8(failure.body(None)).unwrap_or_default();
            sink.text(format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"error\"; {parameters}\r\n\
                 Content-Type: application/json; charset=utf-8\r\n\r\n{body}"
            ))?;
        }
    }
    sink.text("\r\n".to_owned())
}

fn content(path: &Path, name: &str) -> Result<Content, Failure> {
    if name.is_empty() {
        return Err(Failure::bad_request("a path is empty"));
    }
    Regular::find(path)?.content().map_err(|error| Failure::file(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_both_ways_of_reading() {
        assert_eq!(
            name_parameters("a \"\\\n\u{fc}"),
            "filename=\"a \\\"\\\\_\u{c3}\u{bc}\"; filename*=utf-8''a%20%22%5C%0A%C3%BC"
        );
    }

    #[test]
    fn boundaries_differ() {
        assert_ne!(boundary(), boundary());
    }
}
