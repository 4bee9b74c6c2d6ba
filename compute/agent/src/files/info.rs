//! What a file is, as listings tell it.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use serde::Serialize;

use crate::agent::Agent;
use crate::guest::accounts::{Accounts, Names};
use crate::http::error::Failure;
use crate::http::request::{Request, blocking};
use crate::http::response::{self, Response};

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FileInfo {
    name: String,
    path: String,
    is_dir: bool,
    size: u64,
    /// As `ls -l` shows it.
    mode: String,
    /// Octal, four digits.
    permissions: String,
    /// In the layout of Go's `time.Time.String`, which older clients parse.
    mod_time: String,
    modified_at: String,
    owner: String,
    group: String,
}

impl FileInfo {
    pub fn new(path: &Path, metadata: &Metadata, names: &Names) -> Self {
        let mode = metadata.mode();
        let modified = jiff::Timestamp::new(metadata.mtime(), metadata.mtime_nsec().try_into().unwrap_or(0));
        // Times beyond year 9999 are nobody's.
        let modified = modified.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string();
        Self {
            name: path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
            path: path.to_string_lossy().into_owned(),
            is_dir: metadata.is_dir(),
            size: metadata.len(),
            mode: letters(metadata),
            permissions: format!("{:04o}", mode & 0o7777),
            mod_time: format!("{} +0000 UTC", modified.replace('T', " ").trim_end_matches('Z')),
            modified_at: modified,
            owner: names.user(metadata.uid()),
            group: names.group(metadata.gid()),
        }
    }
}

/// `GET /files/info`: of what a symbolic link points at, or of the link itself when that is missing.
pub async fn info(agent: &Agent, request: &Request) -> Result<Response, Failure> {
    let path = agent.resolve(request.query.required("path")?);
    let info = blocking(move || {
        let metadata = fs::metadata(&path).or_else(|error| fs::symlink_metadata(&path).map_err(|_| error));
        let metadata = metadata.map_err(|error| Failure::file(&path, &error))?;
        Ok(FileInfo::new(&path, &metadata, &Accounts::read().names()))
    });
    response::json(&info.await?)
}

fn letters(metadata: &Metadata) -> String {
    let kind = metadata.file_type();
    let first = match () {
        () if kind.is_dir() => 'd',
        () if kind.is_symlink() => 'l',
        () if kind.is_block_device() => 'b',
        () if kind.is_char_device() => 'c',
        () if kind.is_fifo() => 'p',
        () if kind.is_socket() => 's',
        () => '-',
    };
    let mode = metadata.mode();
    let mut letters = String::with_capacity(10);
    letters.push(first);
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        letters.push(if bits & 4 != 0 { 'r' } else { '-' });
        letters.push(if bits & 2 != 0 { 'w' } else { '-' });
        letters.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => unset,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    letters
}
