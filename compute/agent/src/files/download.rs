//! `GET /files/download`: one file, whole or a range of it.

use std::fs::File;
use std::io::{Seek, SeekFrom};

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::chunks::{Interrupted, Sink};
use super::range::{self, Range};
use super::regular::{Content, Regular};
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
    let content = blocking::run(move || {
        let file = Regular::find(&path)?;
        file.content().map_err(|error| Failure::file(&path, &error))
    });
    let content = content.await?;
    let length = match content {
        Content::Short(ref all) => all.len() as u64,
        Content::Long(_, Some(length)) => length,
        Content::Long(file, None) => return answer(StatusCode::OK, unmeasured(file)?, &name),
    };
    let range = match range::parse(request.header(RANGE), length) {
        Ok(range) => range,
        Err(range::Unsatisfiable) if length > 0 => return unsatisfiable(length),
        Err(range::Unsatisfiable) => None,
    };
    let part = range.unwrap_or(Range { start: 0, end: length });
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut response = answer(status, body(content, part)?, &name)?;
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, (part.end - part.start).into());
    if range.is_some() {
        headers.insert(CONTENT_RANGE, header(format!("bytes {}-{}/{length}", part.start, part.end - 1))?);
    }
    Ok(response)
}

fn answer(status: StatusCode, body: Body, name: &str) -> Result<Response, Failure> {
    let mut response = response::with_status(status, body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_DISPOSITION, header(format!("attachment; {}", file_name_parameters(name)))?);
    Ok(response)
}

fn body(content: Content, part: Range) -> Result<Body, Failure> {
    let mut file = match content {
        Content::Short(all) => {
            return Ok(Body::Full(Some(Bytes::from(all).slice(part.start as usize..part.end as usize))));
        }
        Content::Long(file, _) => file,
    };
    stream(move |sink| match file.seek(SeekFrom::Start(part.start)) {
        Ok(_) => sink.exactly(&mut file, part.end - part.start),
        Err(error) => sink.break_off(error),
    })
}

/// A file whose length is known when it has been read.
fn unmeasured(mut file: File) -> Result<Body, Failure> {
    stream(move |sink| sink.to_end(&mut file))
}

fn stream(produce: impl FnOnce(&Sink) -> Result<(), Interrupted> + Send + 'static) -> Result<Body, Failure> {
    let (sink, pieces) = Sink::new();
    blocking::start(move || {
        // Interrupted by the reader, who needs to know nothing, or told to it by the sink.
        let _ = produce(&sink);
    })?;
    Ok(Body::Stream(pieces))
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
