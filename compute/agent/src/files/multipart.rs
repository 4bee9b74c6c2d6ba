//! Reads `multipart/form-data` (RFC 7578) as it arrives, on a blocking thread, without holding more than one piece.
//!
//! Headers may come in any order. The text before the first boundary and after the last one is dropped.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

/// Of one part's headers together.
const LONGEST_HEADERS: usize = 16 * 1024;
/// RFC 2046 §5.1.1.
const LONGEST_BOUNDARY: usize = 70;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MultipartError {
    #[error("the upload ended before its last boundary")]
    Truncated,
    #[error("the multi-part body is malformed: {0}")]
    Malformed(&'static str),
    #[error("the content type has no boundary: send multipart/form-data; boundary=…")]
    NoBoundary,
}

/// Gives the next piece of the body, none after its end or when it was cut off.
pub trait Source: FnMut() -> Option<Bytes> {}
impl<S: FnMut() -> Option<Bytes>> Source for S {}

#[derive(Debug)]
pub struct Multipart<S> {
    source: S,
    /// Read from the source, not yet given out.
    buffer: Bytes,
    /// Line break, two dashes and the boundary.
    delimiter: Finder<'static>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a part's content, or before the first boundary.
    Content,
    /// Right after a boundary.
    Boundary,
    End,
}

/// The field that a part belongs to.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    pub file_name: Option<String>,
}

/// The boundary in a `Content-Type`, none for another type.
pub fn boundary(content_type: &str) -> Option<Result<String, MultipartError>> {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(parameters, "boundary");
    let valid = |boundary: &String| (1..=LONGEST_BOUNDARY).contains(&boundary.len());
    Some(boundary.filter(valid).ok_or(MultipartError::NoBoundary))
}

impl<S: Source> Multipart<S> {
    pub fn new(boundary: &str, source: S) -> Self {
        let delimiter = Finder::new(format!("\r\n--{boundary}").as_bytes()).into_owned();
        // The first boundary stands at the beginning, without the line break that all others have.
        Self { source, buffer: Bytes::from_static(b"\r\n"), delimiter, state: State::Content }
    }

    /// The next part, none after the last. What is left of the former one's content is passed over.
    pub fn next_part(&mut self) -> Result<Option<Part>, MultipartError> {
        while self.content()?.is_some() {}
        if self.state == State::End || self.is_last()? {
            self.state = State::End;
            return Ok(None);
        }
        let part = self.headers()?;
        self.state = State::Content;
        Ok(Some(part))
    }

    /// The next piece of the present part's content, none at its end.
    pub fn content(&mut self) -> Result<Option<Bytes>, MultipartError> {
        while self.state == State::Content {
            if let Some(at) = self.delimiter.find(&self.buffer) {
                let content = self.buffer.split_to(at);
                drop(self.buffer.split_to(self.delimiter.needle().len()));
                self.state = State::Boundary;
                return Ok(Some(content).filter(|content| !content.is_empty()));
            }
            let kept = self.delimiter_prefix();
            let content = self.buffer.split_to(self.buffer.len() - kept);
            if !content.is_empty() {
                return Ok(Some(content));
            }
            self.read_more()?;
        }
        Ok(None)
    }

    /// How many bytes at the buffer's end may be the beginning of a delimiter.
    fn delimiter_prefix(&self) -> usize {
        let needle = self.delimiter.needle();
        let longest = self.buffer.len().min(needle.len() - 1);
        (1..=longest).rev().find(|length| self.buffer.ends_with(&needle[..*length])).unwrap_or(0)
    }

    /// After a boundary: two dashes end the body, a line break starts a part.
    fn is_last(&mut self) -> Result<bool, MultipartError> {
        loop {
            match &self.buffer[..] {
                [b'-', b'-', ..] => return Ok(true),
                [b'\r', b'\n', ..] => {
                    // Left in place: the headers end with an empty line, and may be none.
                    return Ok(false);
                }
                [b' ' | b'\t', ..] => drop(self.buffer.split_to(1)),
                [] | [b'-' | b'\r'] => self.read_more()?,
                _ => return Err(MultipartError::Malformed("a boundary goes on without a line break")),
            }
        }
    }

    fn headers(&mut self) -> Result<Part, MultipartError> {
        let end = loop {
            match memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                Some(end) => break end,
                None if self.buffer.len() > LONGEST_HEADERS => {
                    return Err(MultipartError::Malformed("a part's headers are too long"));
                }
                None => self.read_more()?,
            }
        };
        let headers = self.buffer.split_to(end);
        drop(self.buffer.split_to(b"\r\n\r\n".len()));
        parse_headers(&String::from_utf8_lossy(&headers))
    }

    fn read_more(&mut self) -> Result<(), MultipartError> {
        let piece = (self.source)().ok_or(MultipartError::Truncated)?;
        if self.buffer.is_empty() {
            self.buffer = piece;
        } else {
            let mut joined = BytesMut::with_capacity(self.buffer.len() + piece.len());
            joined.extend_from_slice(&self.buffer);
            joined.extend_from_slice(&piece);
            self.buffer = joined.freeze();
        }
        Ok(())
    }
}

fn parse_headers(headers: &str) -> Result<Part, MultipartError> {
    let named = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then(|| value.to_owned())
    };
    let disposition = headers.split("\r\n").find_map(named);
    let disposition = disposition.ok_or(MultipartError::Malformed("a part has no Content-Disposition"))?;
    let name = parameter(&disposition, "name").ok_or(MultipartError::Malformed("a part has no name"))?;
    Ok(Part { name, file_name: parameter(&disposition, "filename") })
}

/// A parameter's value, with quotes and their escapes taken away.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = match rest.find(['=', ';']) {
            Some(at) if rest[at..].starts_with('=') => (rest[..at].trim(), &rest[at + 1..]),
            Some(at) => {
                rest = &rest[at + 1..];
                continue;
            }
            None => return None,
        };
        let (value, after) = value(after.trim_start());
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after.split_once(';').map_or("", |(_, rest)| rest);
    }
    None
}

fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return (text[..end].trim().to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[at + 1..]),
            // Only quotes and backslashes are escaped; browsers leave backslashes of paths alone.
            '\\' if quoted[at + 1..].starts_with(['"', '\\']) => value.extend(letters.next().map(|(_, next)| next)),
            _ => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests;
