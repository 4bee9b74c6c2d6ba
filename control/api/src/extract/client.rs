//! What a client is, where that decides about an answer.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::app::App;

const SDK_VERSION: &str = "x-daytona-sdk-version";
/// The first version whose `delete()` takes 404 for an end when it looks at the sandbox again.
const EXPECTS_THE_END: (u32, u32) = (0, 111);
/// The first version that knows pages without numbers.
const KNOWS_PAGES: (u32, u32) = (0, 177);

/// The program that calls, as far as it says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    /// Major and minor; none when it is no SDK, or a version of its own kind.
    version: Option<(u32, u32)>,
}

impl Client {
    /// Whether it reads each sandbox again that it deleted, and fails when that is gone.
    pub fn rereads_deleted(self) -> bool {
        self.version.is_some_and(|version| version < EXPECTS_THE_END)
    }

    /// Whether it takes a list of sandboxes as a whole, without a page around it.
    pub fn lists_whole(self) -> bool {
        self.version.is_some_and(|version| version < KNOWS_PAGES)
    }

    fn of(version: &str) -> Self {
        let mut numbers = version.split('.').map_while(|number| number.parse().ok());
        Self { version: numbers.next().zip(numbers.next()) }
    }
}

impl FromRequestParts<App> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        let version = parts.headers.get(SDK_VERSION).and_then(|version| version.to_str().ok());
        Ok(version.map_or(Self { version: None }, Self::of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_who_knows_pages() {
        assert!(Client::of("0.25.6").lists_whole() && Client::of("0.176.0").lists_whole());
        assert!(!Client::of("0.177.0").lists_whole() && !Client::of("").lists_whole());
    }

    #[test]
    fn tells_former_clients() {
        for (version, former) in [
            ("0.21.4", true),
            ("0.103.0", true),
            ("0.110.2", true),
            ("0.111.0", false),
            ("0.226.1", false),
            ("2.0.0a3", false),
            ("dev", false),
            ("0", false),
            ("", false),
        ] {
            assert_eq!(Client::of(version).rereads_deleted(), former, "{version}");
        }
    }
}
