//! Documents: paths in the words of callers, URIs in those of language servers.

use std::borrow::Cow;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::agent::Agent;
use crate::files::regular::Regular;
use crate::http::error::{Failure, Kind};
use crate::http::request::blocking;

/// The largest document; servers hold several copies of it.
const LARGEST: u64 = 16 * 1024 * 1024;
const SCHEME: &str = "file://";
/// Encoded in a path, RFC 3986 §2.3 and §3.3.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A document with its text.
#[derive(Debug)]
pub struct Document {
    pub path: PathBuf,
    pub uri: String,
    pub text: String,
}

/// The URI of an absolute path.
pub fn uri(path: &Path) -> String {
    format!("{SCHEME}{}", percent_encode(path.as_os_str().as_bytes(), PATH))
}

/// The URI for a server of what a caller named.
pub async fn locate(agent: &Agent, project: &Path, named: &str) -> Result<String, Failure> {
    let candidates = candidates(agent, project, named)?;
    blocking(move || Ok(uri(&choose(candidates)))).await
}

/// Reads what a caller named. Bytes that are no UTF-8 become replacement characters.
pub async fn read(agent: &Agent, project: &Path, named: &str) -> Result<Document, Failure> {
    let candidates = candidates(agent, project, named)?;
    let read = move || {
        let path = choose(candidates);
        let file = Regular::find(&path)?;
        let mut bytes = Vec::new();
        let mut read = || file.reader()?.take(LARGEST + 1).read_to_end(&mut bytes);
        read().map_err(|error| Failure::file(&path, &error))?;
        if bytes.len() as u64 > LARGEST {
            let message = format!("the document is larger than {LARGEST} bytes: {}", path.display());
            return Err(Failure::new(Kind::PayloadTooLarge, message));
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Document { uri: uri(&path), path, text })
    };
    blocking(read).await
}

/// Clients put `file://` before a path as it is, encoded or not, absolute, or relative to the work directory or, as
/// their documentation says, to the project. The first that exists is meant.
fn candidates(agent: &Agent, project: &Path, named: &str) -> Result<Vec<PathBuf>, Failure> {
    let path = named.strip_prefix(SCHEME).unwrap_or(named);
    if path.is_empty() || path.contains("://") {
        return Err(Failure::bad_request(format!("uri is not one of a file, such as file:///home/x.py: {named:?}")));
    }
    let decoded = percent_decode_str(path).decode_utf8().unwrap_or(Cow::Borrowed(path));
    let mut candidates = Vec::new();
    for path in [path, &decoded] {
        candidates.push(agent.resolve(path));
        candidates.push(project.join(path));
    }
    Ok(candidates.into_iter().map(|path| plain(&path)).collect())
}

fn choose(mut candidates: Vec<PathBuf>) -> PathBuf {
    let existing = candidates.iter().position(|path| path.exists());
    candidates.swap_remove(existing.unwrap_or(0))
}

/// Without `.` and doubled slashes, so that equal paths have equal URIs.
pub fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_encoded() {
        assert_eq!(uri(Path::new("/a b/ü#?.py")), "file:///a%20b/%C3%BC%23%3F.py");
        assert_eq!(plain(Path::new("/a/./b//c/")), Path::new("/a/b/c"));
    }
}
