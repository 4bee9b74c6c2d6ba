//! File URLs that carry their own permission.
//!
//! A client that knows a sandbox's signing key makes URLs for one file, one direction and some time:
//! `…/files/download?path=P&expires=E&signature=S` (GET) and `…/files/upload-v2?…` (POST), where E is in seconds since
//! 1970 (0: for ever) and S is `v1_` and the unpadded URL-safe base64 of
//! HMAC-SHA256(key, `v1:files:METHOD:P:E`). Whoever holds the URL needs no API key.

use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, Method, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use crate::error::Error;

/// A signed request that was not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signed {
    method: Method,
    route: &'static str,
    path: String,
    expires: i64,
    signature: String,
}

impl Signed {
    /// The request as a signed one; none when it shows a key, or no signature, or is not for a file.
    pub fn of(method: &Method, headers: &HeaderMap, target: &PathAndQuery) -> Option<Self> {
        let route = match (method, target.path()) {
            (&Method::GET, "/files/download") => "/files/download",
            (&Method::POST, "/files/upload-v2") => "/files/upload-v2",
            _ => return None,
        };
        let query = target.query().filter(|_| !headers.contains_key(header::AUTHORIZATION))?;
        let find = |wanted: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
        };
        let (path, expires, signature) = (find("path")?, find("expires")?.parse().ok()?, find("signature")?);
        Some(Self { method: method.clone(), route, path, expires, signature })
    }

    /// Refuses a wrong or expired signature; else what the agent is asked: the same without the signature.
    pub fn check(&self, key: &str, now: Timestamp) -> Result<PathAndQuery, Error> {
        let text = format!("v1:files:{}:{}:{}", self.method, self.path, self.expires);
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(|_| Error::Signature)?;
        mac.update(text.as_bytes());
        let given = self.signature.strip_prefix("v1_").and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        mac.verify_slice(&given.unwrap_or_default()).map_err(|_| Error::Signature)?;
        if self.expires != 0 && self.expires <= now.as_second() {
            return Err(Error::Expired);
        }
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("path", &self.path).finish();
        format!("{}?{query}", self.route).parse().map_err(|_| Error::Signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk_test";

    fn read(query: &str) -> Option<Signed> {
        let target = format!("/files/download?{query}").parse().expect("a path");
        Signed::of(&Method::GET, &HeaderMap::new(), &target)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("an instant")
    }

    /// `openssl dgst -sha256 -hmac sk_test -binary | basenc --base64url` of `v1:files:GET:/a b:100`.
    const SIGNATURE: &str = "v1_zqdTbql9YaW4uSMNiIL-xwhsJWVdwfq0_AmHCHfLSZk";

    #[test]
    fn takes_its_own_file_and_time_only() {
        let signed = read(&format!("path=%2Fa+b&expires=100&signature={SIGNATURE}")).expect("signed");
        assert_eq!(signed.check(KEY, at(99)).expect("valid"), "/files/download?path=%2Fa+b");
        assert!(matches!(signed.check(KEY, at(100)), Err(Error::Expired)));
        assert!(matches!(signed.check("sk_other", at(99)), Err(Error::Signature)));
        for query in ["path=%2Fa&expires=100", "path=%2Fa+b&expires=101", "path=%2Fa+b&expires=0"] {
            let signed = read(&format!("{query}&signature={SIGNATURE}")).expect("signed");
            assert!(matches!(signed.check(KEY, at(99)), Err(Error::Signature)), "{query}");
        }
        let signed = read("path=%2Fa+b&expires=100&signature=v1_").expect("signed");
        assert!(matches!(signed.check(KEY, at(99)), Err(Error::Signature)));
    }

    #[test]
    fn is_for_files_without_a_key() {
        assert_eq!(read("path=%2Fa"), None);
        let target = "/process/execute?path=a&expires=0&signature=x".parse().expect("a path");
        assert_eq!(Signed::of(&Method::GET, &HeaderMap::new(), &target), None);
        let keyed = HeaderMap::from_iter([(header::AUTHORIZATION, "Bearer x".parse().expect("a value"))]);
        let target = "/files/download?path=a&expires=0&signature=x".parse().expect("a path");
        assert_eq!(Signed::of(&Method::GET, &keyed, &target), None);
    }
}
