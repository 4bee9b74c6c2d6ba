//! Messages between the agent and a language server: JSON-RPC 2.0 behind a `Content-Length` header (LSP 3.17, "Base
//! Protocol").

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The largest message taken from a server.
const LARGEST: usize = 64 * 1024 * 1024;
/// Servers send one or two short lines.
const LONGEST_HEADER: usize = 4096;
const HEADER_END: &[u8] = b"\r\n\r\n";

/// A message of a server: a request has an id and a method, a notification only the method, an answer only the id.
#[derive(Debug, Deserialize)]
pub struct Incoming<'a> {
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    pub method: Option<String>,
    #[serde(borrow)]
    pub params: Option<&'a RawValue>,
    #[serde(borrow)]
    pub result: Option<&'a RawValue>,
    pub error: Option<Error>,
}

/// Why a request failed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Error {
    pub code: i64,
    pub message: String,
}

/// The program writes something else than messages to its standard output.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

#[derive(Serialize)]
struct Request<'a, T> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
    method: &'a str,
    params: T,
}

#[derive(Serialize)]
struct Answer<'a, T> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error>,
}

const VERSION: &str = "2.0";

/// A request, or without an id a notification.
pub fn request<T: Serialize>(id: Option<i64>, method: &str, params: &T) -> Vec<u8> {
    frame(&Request { jsonrpc: VERSION, id, method, params })
}

/// The answer to a server's request.
pub fn answer<T: Serialize>(id: &RawValue, answer: Result<T, Error>) -> Vec<u8> {
    let (result, error) = match answer {
        Ok(result) => (Some(result), None),
        Err(error) => (None, Some(error)),
    };
    frame(&Answer { jsonrpc: VERSION, id, result, error })
}

fn frame<T: Serialize>(message: &T) -> Vec<u8> {
    // Strings, numbers and JSON: this cannot fail.
    let text = serde_json::to_vec(message).unwrap_or_default();
    let mut framed = format!("Content-Length: {}\r\n\r\n", text.len()).into_bytes();
    framed.extend(text);
    framed
}

/// Takes the first message from the buffer, when it is complete.
pub fn decode(buffer: &mut BytesMut) -> Result<Option<Bytes>, Malformed> {
    let Some(end) = memchr::memmem::find(&buffer[..buffer.len().min(LONGEST_HEADER)], HEADER_END) else {
        return if buffer.len() < LONGEST_HEADER { Ok(None) } else { Err(Malformed) };
    };
    let header = std::str::from_utf8(&buffer[..end]).map_err(|_| Malformed)?;
    let fields = header.split("\r\n").filter_map(|line| line.split_once(':'));
    let length = fields.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("content-length"));
    let length: usize = length.and_then(|(_, value)| value.trim().parse().ok()).ok_or(Malformed)?;
    if length > LARGEST {
        return Err(Malformed);
    }
    let start = end + HEADER_END.len();
    if buffer.len() - start < length {
        return Ok(None);
    }
    buffer.advance(start);
    Ok(Some(buffer.split_to(length).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_any_split() {
        let mut sent = request(Some(1), "a", &"ü\r\n\r\n");
        sent.extend(b"Content-Type: x\r\ncontent-length:2\r\n\r\n{}");
        let mut buffer = BytesMut::new();
        let mut messages = Vec::new();
        for byte in sent {
            buffer.extend_from_slice(&[byte]);
            while let Some(message) = decode(&mut buffer).expect("well formed") {
                messages.push(message);
            }
        }
        assert_eq!(messages, [r#"{"jsonrpc":"2.0","id":1,"method":"a","params":"ü\r\n\r\n"}"#, "{}"]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [&b"Traceback\r\n\r\n"[..], b"Content-Length: -1\r\n\r\n", b"Content-Length: 99999999999\r\n\r\n"]
        {
            assert_eq!(decode(&mut BytesMut::from(bytes)), Err(Malformed));
        }
        assert_eq!(decode(&mut BytesMut::from(&[b'x'; LONGEST_HEADER][..])), Err(Malformed));
    }
}
