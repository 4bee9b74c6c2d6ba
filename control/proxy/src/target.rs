//! Where a request goes.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use sebring_types::SandboxId;

use crate::error::Error;

/// Paths below this are between the runner and the agent.
const RESERVED: &str = "/.sbx";

/// A sandbox, and the path and query for its agent as the client wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub sandbox: SandboxId,
    pub path: PathAndQuery,
}

impl Target {
    /// Reads `/toolbox/{id}/…`.
    pub fn of(uri: &Uri) -> Result<Self, Error> {
        let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let rest = whole.strip_prefix("/toolbox/").unwrap_or_default();
        let (id, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let sandbox = id.parse().map_err(|_| Error::NotFound(id.to_owned()))?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let path: PathAndQuery = path.parse().map_err(|_| Error::Internal)?;
        if reserved(path.path()) { Err(Error::Internal) } else { Ok(Self { sandbox, path }) }
    }
}

/// Also when written with escapes or empty segments, which an agent might tidy up.
fn reserved(path: &str) -> bool {
    let plain = path.replace("%2e", ".").replace("%2E", ".").replace("%2f", "/").replace("%2F", "/");
    let first = plain.split('/').find(|segment| !matches!(*segment, "" | "." | ".."));
    first.is_some_and(|first| format!("/{first}").eq_ignore_ascii_case(RESERVED)) || plain.contains("/../")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tail: &str) -> Result<String, Error> {
        let uri = format!("/toolbox/0199c0de-0000-7000-8000-000000000000{tail}");
        Target::of(&uri.parse().expect("a URI")).map(|target| target.path.to_string())
    }

    #[test]
    fn keeps_the_path_as_written() {
        assert_eq!(read("/files?path=%2Fa%20b").expect("read"), "/files?path=%2Fa%20b");
        assert_eq!(read("/process/session/a%2Fb").expect("read"), "/process/session/a%2Fb");
        assert_eq!(read("").expect("read"), "/");
        assert_eq!(read("?a=b").expect("read"), "/?a=b");
        assert!(Target::of(&"/toolbox/name/files".parse().expect("a URI")).is_err());
    }

    #[test]
    fn refuses_what_is_the_runners() {
        for tail in ["/.sbx", "/.sbx/prepare", "//.sbx/x", "/%2esbx/x", "/.SBX/x", "/files/../.sbx/x", "/./.sbx"] {
            assert!(read(tail).is_err(), "{tail}");
        }
    }
}
