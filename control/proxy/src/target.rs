//! Where a request goes.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;
use sebring_types::SandboxId;
use sebring_types::agent::RESERVED_PATH;

use crate::error::Error;

/// A sandbox, and the path and query for its agent as the client wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub sandbox: SandboxId,
    pub path: PathAndQuery,
}

impl Target {
    /// Reads `/toolbox/{id}/…`, and `/api/toolbox/{id}/toolbox/…`, where clients up to 0.112 look for it.
    pub fn of(uri: &Uri) -> Result<Self, Error> {
        let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let former = whole.strip_prefix("/api/toolbox/");
        let rest = former.or_else(|| whole.strip_prefix("/toolbox/")).unwrap_or_default();
        let (id, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = match former {
            Some(_) => path.strip_prefix("/toolbox").filter(|path| path.starts_with('/')).ok_or(Error::Internal)?,
            None => path,
        };
        let sandbox = id.parse().map_err(|_| Error::NotFound(id.to_owned()))?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let path: PathAndQuery = path.parse().map_err(|_| Error::Internal)?;
        if reserved(path.path()) { Err(Error::Internal) } else { Ok(Self { sandbox, path }) }
    }
}

/// Whether a path is the runner's own: also when written with escapes or empty segments, which an agent might tidy up.
fn reserved(path: &str) -> bool {
    let plain = percent_decode_str(path).decode_utf8_lossy();
    let first = plain.split('/').find(|segment| !matches!(*segment, "" | "." | ".."));
    first.is_some_and(|first| first.eq_ignore_ascii_case(RESERVED_PATH)) || plain.contains("/../")
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
    fn knows_the_former_place() {
        let read = |tail: &str| {
            let uri = format!("/api/toolbox/0199c0de-0000-7000-8000-000000000000{tail}");
            Target::of(&uri.parse().expect("a URI")).map(|target| target.path.to_string())
        };
        assert_eq!(read("/toolbox/files?path=a").expect("read"), "/files?path=a");
        for wrong in ["", "/", "/files", "/toolboxes/files", "/toolbox", "/toolbox/.sbx/x", "/toolbox//.sbx"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn refuses_what_is_the_runners() {
        for tail in [
            "/.sbx",
            "/.sbx/prepare",
            "//.sbx/x",
            "/%2esbx/x",
            "/.%73bx/x",
            "/%2E%73%62%78%2fx",
            "/.SBX/x",
            "/files/../.sbx/x",
            "/./.sbx",
        ] {
            assert!(read(tail).is_err(), "{tail}");
        }
    }
}
