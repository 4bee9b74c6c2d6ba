//! `GET /files/search`: files and directories by a glob on their names.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;

use super::walk::{Entry, Walk};
use crate::agent::Agent;
use crate::http::error::Failure;
use crate::http::request::{Request, blocking};
use crate::http::response::{self, Response};

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = SearchFilesResponse))]
pub struct Found {
    files: Vec<String>,
}

/// A pattern with a `/` is matched against the path below the root, any other against the last name.
pub async fn search(agent: &Agent, request: &Request) -> Result<Response, Failure> {
    let root = agent.resolve(request.query.required("path")?);
    let pattern = request.query.required("pattern")?.to_owned();
    let found = blocking(move || {
        let walk = Walk::new(&root, usize::MAX).map_err(|error| Failure::file(&root, &error))?;
        let matching = walk.filter(|entry| matches(&pattern, &root, entry));
        Ok(Found { files: matching.map(|entry| entry.path.to_string_lossy().into_owned()).collect() })
    });
    response::json(&found.await?)
}

fn matches(pattern: &str, root: &Path, entry: &Entry) -> bool {
    let subject =
        if pattern.contains('/') { entry.path.strip_prefix(root).ok() } else { entry.path.file_name().map(Path::new) };
    subject.is_some_and(|subject| fast_glob::glob_match(pattern.as_bytes(), subject.as_os_str().as_bytes()))
}
