//! `POST /files/replace`: a text for another, in each of several files.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use memchr::memmem::Finder;
use nix::fcntl::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};

use crate::agent::Agent;
use crate::http::error::{Failure, Kind};
use crate::http::request::{Request, blocking};
use crate::http::response::{self, Response};

/// A file is held in memory twice.
const LARGEST: u64 = 64 * 1024 * 1024;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = ReplaceRequest))]
#[serde(rename_all = "camelCase")]
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
    let work = || -> io::Result<bool> {
        let mut file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() > LARGEST {
            return Ok(false);
        }
        let mut old = Vec::new();
        file.read_to_end(&mut old)?;
        if let Some(text) = substitute(&old, finder, new) {
            overwrite(&mut file, old.len(), &text)?;
        }
        Ok(true)
    };
    match work() {
        Ok(true) => Ok(()),
        Ok(false) => {
            let message = format!("is no regular file of at most {LARGEST} bytes: {}", path.display());
            Err(Failure::new(Kind::InvalidFilePath, message))
        }
        Err(error) => Err(Failure::file(path, &error)),
    }
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

/// Keeps the file itself, with its mode, owner and links. Room for a longer text is reserved first, so that a full
/// disk leaves the old text whole.
fn overwrite(file: &mut File, old_length: usize, text: &[u8]) -> io::Result<()> {
    if text.len() > old_length {
        let (offset, more) = (old_length as libc::off_t, (text.len() - old_length) as libc::off_t);
        match fallocate(&*file, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, more) {
            // Not every file system can reserve.
            Ok(()) | Err(nix::Error::EOPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    file.rewind()?;
    file.write_all(text)?;
    file.set_len(text.len() as u64)
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
