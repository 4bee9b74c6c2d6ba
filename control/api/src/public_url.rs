//! The address that clients know the server by.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};

use crate::Config;

/// The start of every URL in an answer, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PublicUrl(String);

impl PublicUrl {
    /// The configured one, else the host that the request came to. A proxy in front may name the scheme.
    pub fn of(config: &Config, headers: &HeaderMap) -> Self {
        if let Some(url) = &config.public_url {
            return Self(url.trim_end_matches('/').to_owned());
        }
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).filter(|host| host.parse::<Authority>().is_ok() && !host.contains('@'));
        let scheme = text(header::HeaderName::from_static("x-forwarded-proto"));
        match host {
            Some(host) if scheme == Some("https") => Self(format!("https://{host}")),
            Some(host) => Self(format!("http://{host}")),
            None => Self(config.local_url.trim_end_matches('/').to_owned()),
        }
    }

    /// Where the toolbox of each sandbox is: this, a slash, its id.
    pub fn toolbox(&self) -> String {
        format!("{}/toolbox", self.0)
    }

    /// The server itself.
    pub fn root(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use sebring_types::Resources;

    use super::*;

    fn config(public_url: Option<&str>) -> Config {
        Config {
            public_url: public_url.map(str::to_owned),
            local_url: "http://127.0.0.1:3986".to_owned(),
            version: "0".to_owned(),
            limits: Resources::default(),
        }
    }

    fn host(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(value))])
    }

    #[test]
    fn follows_the_request_unless_configured() {
        let free = config(None);
        assert_eq!(PublicUrl::of(&free, &host("box.example:80")).toolbox(), "http://box.example:80/toolbox");
        assert_eq!(PublicUrl::of(&free, &HeaderMap::new()).root(), "http://127.0.0.1:3986");
        assert_eq!(PublicUrl::of(&free, &host("a@b")).root(), "http://127.0.0.1:3986");
        let fixed = config(Some("https://sandboxes.example/"));
        assert_eq!(PublicUrl::of(&fixed, &host("other")).root(), "https://sandboxes.example");
    }
}
