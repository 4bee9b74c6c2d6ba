//! What an agent gets to see of a request's headers.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// Of one connection, not of the message (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Tell the agent who calls, or speak to the proxy alone.
const PRIVATE: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::COOKIE,
    // Answered here: the client sends its body as the agent takes it.
    header::EXPECT,
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-request-id"),
];

/// Every header of the platform's own.
const PLATFORM: &str = "x-daytona-";
/// But this one, for old clients read some answers in a form of their own.
const VERSION: &str = "x-daytona-sdk-version";

/// Leaves of a request's headers what the agent may see; of those that ask for an upgrade only what asks for a WebSocket.
pub(crate) fn for_agent(headers: &mut HeaderMap, websocket: bool) {
    strip_hop_by_hop(headers);
    let platform = |name: &str| name.starts_with(PLATFORM) && name != VERSION;
    let private = headers.keys().filter(|name| PRIVATE.contains(name) || platform(name.as_str()));
    for name in private.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
    headers.insert(header::HOST, HeaderValue::from_static("sandbox"));
    if websocket {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<_> = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok()).collect();
    let named: Vec<HeaderName> =
        named.iter().flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse::<HeaderName>(), value.parse())).fold(
            HeaderMap::new(),
            |mut headers, (name, value)| {
                headers.append(name.expect("a name"), value.expect("a value"));
                headers
            },
        )
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn tells_the_agent_nothing_about_the_caller() {
        let mut request = headers(&[
            ("host", "example"),
            ("authorization", "Bearer key"),
            ("cookie", "a=b"),
            ("x-daytona-organization-id", "o"),
            ("x-daytona-preview-token", "t"),
            ("x-daytona-sdk-version", "0.161.0"),
            ("x-forwarded-for", "1.2.3.4"),
            ("content-type", "text/plain"),
            ("sec-websocket-protocol", "a"),
            ("connection", "keep-alive, x-hop"),
            ("x-hop", "1"),
        ]);
        for_agent(&mut request, false);
        assert_eq!(names(&request), ["content-type", "host", "sec-websocket-protocol", "x-daytona-sdk-version"]);
        assert_eq!(request["host"], "sandbox");
    }

    #[test]
    fn passes_websockets_on() {
        let asking = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket, h2c")]);
        let mut request = asking.clone();
        for_agent(&mut request, true);
        assert_eq!(names(&request), ["connection", "host", "upgrade"]);
        assert_eq!(request["upgrade"], "websocket");
        let mut request = asking;
        for_agent(&mut request, false);
        assert_eq!(names(&request), ["host"]);
    }
}
