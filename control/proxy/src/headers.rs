//! What is passed on of the headers.

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

/// Leaves of a request's headers what the agent may see. `upgrade` keeps those that ask for one.
pub(crate) fn for_agent(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    strip_hop_by_hop(headers);
    let private = headers.keys().filter(|name| PRIVATE.contains(name) || name.as_str().starts_with(PLATFORM));
    for name in private.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
    headers.insert(header::HOST, HeaderValue::from_static("sandbox"));
    ask_for_upgrade(headers, upgrade);
}

/// Leaves of an answer's headers what the client may see.
pub(crate) fn for_client(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    strip_hop_by_hop(headers);
    headers.remove(header::SET_COOKIE);
    ask_for_upgrade(headers, upgrade);
}

/// The protocol that a message wants to change to.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let named = |value: &HeaderValue| {
        let tokens = value.to_str().unwrap_or_default();
        tokens.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
    };
    let asked = headers.get_all(header::CONNECTION).iter().any(named);
    headers.get(header::UPGRADE).filter(|_| asked).cloned()
}

fn ask_for_upgrade(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
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
            ("x-forwarded-for", "1.2.3.4"),
            ("content-type", "text/plain"),
            ("sec-websocket-protocol", "a"),
            ("connection", "keep-alive, x-hop"),
            ("x-hop", "1"),
        ]);
        for_agent(&mut request, None);
        assert_eq!(names(&request), ["content-type", "host", "sec-websocket-protocol"]);
        assert_eq!(request["host"], "sandbox");
    }

    #[test]
    fn passes_upgrades_on() {
        let mut request = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        let protocol = upgrade(&request);
        assert!(protocol.is_some());
        for_agent(&mut request, protocol);
        assert_eq!(names(&request), ["connection", "host", "upgrade"]);
        assert!(upgrade(&headers(&[("upgrade", "websocket")])).is_none());
    }

    #[test]
    fn drops_the_agents_cookies() {
        let mut answer = headers(&[("set-cookie", "a=b"), ("transfer-encoding", "chunked"), ("etag", "x")]);
        for_client(&mut answer, None);
        assert_eq!(names(&answer), ["etag"]);
    }
}
