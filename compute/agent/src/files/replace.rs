//! `POST /files/replace`: a text for another, in each of several files.

use std::io::{self, Write};
use std::path::Path;

use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};

use super::destination::unnamed;
use super::overwrite::Present;
use crate::agent::Agent;
use crate::http::error::{Failure, Kind};
use crate::http::request::{Request, blocking};
use crate::http::response::{self, Response};

/// A file is held in memory twice.
const LARGEST: u64 = 64 * 1024 * 1024;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = ReplaceRequest))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replace {
    files: Vec<String>,
    pattern: String,
    new_value: String,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = ReplaceResult))]
pub struct Replaced {
    file: String,
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// One result for each file; one that fails does not keep the others from it.
pub async fn replace(agent: &Agent, request: Request) -> Result<Response, Failure> {
    let Replace { files, pattern, new_value } = request.json().await?;
    if pattern.is_empty() {
        return Err(Failure::bad_request("pattern is empty: give the text to replace"));
    }
    let files: Vec<_> = files.into_iter().map(|file| (agent.resolve(&file), file)).collect();
    let results = blocking(move || {
        let finder = Finder::new(&pattern);
        let one = |(path, file): (std::path::PathBuf, String)| {
            let error = replace_in(&path, &finder, new_value.as_bytes()).err().map(|failure| failure.message);
            Replaced { file, success: error.is_none(), error }
        };
        Ok(files.into_iter().map(one).collect::<Vec<_>>())
    });
    response::json(&results.await?)
}

fn replace_in(path: &Path, finder: &Finder<'_>, new: &[u8]) -> Result<(), Failure> {
    let present = Present::find(path)?;
    if present.len() > LARGEST {
        let message = format!("is larger than {LARGEST} bytes: {}", path.display());
        return Err(Failure::new(Kind::InvalidFilePath, message));
    }
    let work = || match substitute(&present.read()?, finder, new) {
        Some(text) => overwrite(&present, &text),
        None => Ok(()),
    };
    work().map_err(|error| Failure::file(path, &error))
}

/// None without an occurrence.
fn substitute(old: &[u8], finder: &Finder<'_>, new: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let mut from = 0;
    for at in finder.find_iter(old) {
        text.extend_from_slice(&old[from..at]);
        text.extend_from_slice(new);
        from = at + finder.needle().len();
    }
    if from == 0 {
        return None;
    }
    text.extend_from_slice(&old[from..]);
    Some(text)
}

/// The new text is written beside the old one first, so that a full disk leaves that whole.
fn overwrite(present: &Present, text: &[u8]) -> io::Result<()> {
    let beside = || {
        let mut beside = unnamed(present.directory())?;
        beside.write_all(text)?;
        Ok(beside)
    };
    match beside() {
        Ok(mut beside) => present.take(&mut beside, text.len() as u64),
        Err(error) if is_full(&error) && text.len() as u64 > present.len() => Err(error),
        // It has room for it, or there are no files without names.
        Err(_) => present.put(text),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occurrences_do_not_overlap() {
        let replaced =
            |old: &str, pattern: &str, new: &str| substitute(old.as_bytes(), &Finder::new(pattern), new.as_bytes());
        assert_eq!(replaced("aaa", "aa", "b").as_deref(), Some(&b"ba"[..]));
        assert_eq!(replaced("x y x", "x", ""), Some(b" y ".to_vec()));
        assert_eq!(replaced("nothing", "x", "y"), None);
    }
}
