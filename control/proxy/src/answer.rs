//! What a caller gets to see of an answer.
//!
//! Whoever has root inside may answer in the agent's place, and the caller's library takes what it says as the server's
//! word. So the head of an answer is made anew: a status that sends nobody elsewhere, headers of a short list, a type that
//! no browser runs. What an agent of ours sends passes unchanged.

use axum::http::response::{Builder, Parts};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use crate::error::Error;

/// Headers that pass, the first of each name.
const PASSED: [HeaderName; 5] =
    [header::ACCEPT_RANGES, header::CONTENT_DISPOSITION, header::CONTENT_RANGE, header::ETAG, header::LAST_MODIFIED];

/// Those of an answer that changes to a WebSocket.
const OF_WEBSOCKETS: [HeaderName; 3] =
    [header::SEC_WEBSOCKET_ACCEPT, header::SEC_WEBSOCKET_EXTENSIONS, header::SEC_WEBSOCKET_PROTOCOL];

/// Of every answer. An address below `/toolbox` is never a place of its own on the web, and no cache keeps what is there.
const OURS: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox; frame-ancestors 'none'")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Types that are shown or saved, and never run.
const TYPES: [&str; 9] = [
    "application/json",
    "application/octet-stream",
    "multipart/form-data",
    "text/event-stream",
    "text/plain",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
];

/// What the caller asked for, as far as the answer must fit it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub method: Method,
    pub websocket: bool,
    /// By a URL that needs no key, which people open in browsers.
    pub signed: bool,
}

/// The head of the answer, and whether the connection changes to a WebSocket. `empty` when no body follows.
pub(crate) fn head(asked: &Asked, answer: &Parts, empty: bool) -> Result<(Builder, bool), Error> {
    let mut head = Response::builder().status(answer.status);
    let headers = head.headers_mut().ok_or(Error::Answer("a status that is none"))?;
    let switches = match answer.status {
        StatusCode::SWITCHING_PROTOCOLS if !asked.websocket => {
            return Err(Error::Answer("an upgrade nobody asked for"));
        }
        StatusCode::SWITCHING_PROTOCOLS if !is_websocket(&answer.headers) => {
            return Err(Error::Answer("an upgrade to another protocol"));
        }
        StatusCode::SWITCHING_PROTOCOLS => true,
        status if status.is_redirection() => return Err(Error::Answer("a redirection")),
        status if status.is_informational() || status.as_u16() >= 600 => {
            return Err(Error::Answer("a status that is none"));
        }
        _ => false,
    };
    if switches {
        copy(&answer.headers, headers, &OF_WEBSOCKETS);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return Ok((head, true));
    }
    copy(&answer.headers, headers, &PASSED);
    if asked.method == Method::HEAD {
        // Elsewhere the body says how long it is.
        copy(&answer.headers, headers, &[header::CONTENT_LENGTH]);
    }
    match answer.headers.get(header::CONTENT_TYPE) {
        Some(given) => drop(headers.insert(header::CONTENT_TYPE, harmless(given))),
        None if empty => {}
        None => drop(headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))),
    }
    if asked.signed && !is_attachment(headers.get(header::CONTENT_DISPOSITION)) {
        headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    headers.extend(OURS);
    Ok((head, false))
}

/// Whether a message wants to change to a WebSocket.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    has_word(headers, header::CONNECTION, "upgrade") && has_word(headers, header::UPGRADE, "websocket")
}

fn has_word(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let values = headers.get_all(name);
    let mut words = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    words.any(|found| found.trim().eq_ignore_ascii_case(word))
}

fn copy(from: &HeaderMap, to: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        if let Some(value) = from.get(name) {
            to.insert(name.clone(), value.clone());
        }
    }
}

/// The type, if it is one of those that pass; else text or bytes.
fn harmless(given: &HeaderValue) -> HeaderValue {
    let text = given.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if TYPES.contains(&essence.as_str()) {
        given.clone()
    } else if essence.starts_with("text/") {
        HeaderValue::from_static("text/plain; charset=utf-8")
    } else {
        HeaderValue::from_static("application/octet-stream")
    }
}

fn is_attachment(disposition: Option<&HeaderValue>) -> bool {
    let text = disposition.and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, pairs: &[(&str, &str)]) -> Parts {
        let mut response = Response::builder().status(status);
        for (name, value) in pairs {
            response = response.header(*name, *value);
        }
        response.body(()).expect("an answer").into_parts().0
    }

    fn asked(websocket: bool) -> Asked {
        Asked { method: Method::GET, websocket, signed: false }
    }

    fn made(asked: &Asked, pairs: &[(&str, &str)]) -> HeaderMap {
        let (head, _) = head(asked, &answer(200, pairs), false).expect("passes");
        head.body(()).expect("an answer").into_parts().0.headers
    }

    #[test]
    fn headers_of_the_list_pass_once() {
        let given = [
            ("content-disposition", "attachment; filename=a"),
            ("content-disposition", "inline"),
            ("etag", "x"),
            ("content-length", "7"),
            ("content-type", "application/json"),
            ("location", "/api/sandbox/x/stop"),
            ("set-cookie", "a=b"),
            ("refresh", "0; url=/"),
            ("access-control-allow-origin", "*"),
            ("content-encoding", "gzip"),
            ("content-security-policy", "default-src *"),
            ("cache-control", "public, max-age=1000000"),
            ("retry-after", "1000000"),
            ("www-authenticate", "Basic"),
            ("x-daytona-anything", "x"),
        ];
        let made = made(&asked(false), &given);
        let mut names: Vec<_> = made.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let expected = [
            "cache-control",
            "content-disposition",
            "content-security-policy",
            "content-type",
            "etag",
            "x-content-type-options",
        ];
        assert_eq!(names, expected);
        assert_eq!(made["content-disposition"], "attachment; filename=a");
        assert_eq!(made["cache-control"], "no-store");
    }

    #[test]
    fn no_type_runs_in_a_browser() {
        for (given, expected) in [
            ("application/json; charset=utf-8", "application/json; charset=utf-8"),
            ("multipart/form-data; boundary=x", "multipart/form-data; boundary=x"),
            ("text/html", "text/plain; charset=utf-8"),
            ("TEXT/HTML; charset=utf-7", "text/plain; charset=utf-8"),
            ("text/javascript", "text/plain; charset=utf-8"),
            ("text/xml", "text/plain; charset=utf-8"),
            ("image/svg+xml", "application/octet-stream"),
            ("application/xhtml+xml", "application/octet-stream"),
            ("application/wasm", "application/octet-stream"),
            ("application/pdf", "application/octet-stream"),
            ("multipart/x-mixed-replace; boundary=x", "application/octet-stream"),
            ("text/html, application/json", "text/plain; charset=utf-8"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(made(&asked(false), &[("content-type", given)])["content-type"], expected, "{given}");
        }
        assert_eq!(made(&asked(false), &[])["content-type"], "application/octet-stream");
        let (empty, _) = head(&asked(false), &answer(204, &[]), true).expect("passes");
        assert!(!empty.headers_ref().expect("headers").contains_key("content-type"));
    }

    #[test]
    fn what_people_open_is_saved() {
        let signed = Asked { signed: true, ..asked(false) };
        for (given, expected) in
            [("inline; filename=a", "attachment"), ("attachment; filename=a", "attachment; filename=a")]
        {
            assert_eq!(made(&signed, &[("content-disposition", given)])["content-disposition"], expected);
        }
        assert_eq!(made(&signed, &[])["content-disposition"], "attachment");
    }

    #[test]
    fn no_status_sends_anybody_elsewhere() {
        for status in [100, 102, 103, 199, 300, 301, 302, 303, 304, 307, 308, 399, 600, 999] {
            assert!(head(&asked(false), &answer(status, &[]), true).is_err(), "{status}");
        }
        for status in [200, 204, 299, 400, 401, 404, 499, 500, 599] {
            assert!(head(&asked(false), &answer(status, &[]), true).is_ok(), "{status}");
        }
    }

    #[test]
    fn an_upgrade_is_one_that_was_asked_for() {
        let websocket =
            [("connection", "Upgrade"), ("upgrade", "WebSocket"), ("sec-websocket-accept", "x"), ("etag", "y")];
        let (made, switches) = head(&asked(true), &answer(101, &websocket), true).expect("passes");
        let made = made.headers_ref().expect("headers");
        assert!(switches && made["sec-websocket-accept"] == "x" && made["upgrade"] == "websocket");
        assert!(!made.contains_key("etag"));
        assert!(head(&asked(false), &answer(101, &websocket), true).is_err());
        for other in [&[("connection", "upgrade"), ("upgrade", "h2c")][..], &[("upgrade", "websocket")], &[]] {
            assert!(head(&asked(true), &answer(101, other), true).is_err(), "{other:?}");
        }
    }
}
