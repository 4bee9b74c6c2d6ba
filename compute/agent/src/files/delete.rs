//! `DELETE /files`.

use std::fs;
use std::path::Path;

use http::StatusCode;

use crate::agent::Agent;
use crate::http::error::{Failure, Kind};
use crate::http::request::{Request, blocking};
use crate::http::response::{self, Response};

/// A symbolic link is removed itself, never what it points at.
pub async fn delete(agent: &Agent, request: &Request) -> Result<Response, Failure> {
    let path = agent.resolve(request.query.required("path")?);
    let recursive = request.query.flag("recursive")?;
    blocking(move || remove(&path, recursive)).await?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}

fn remove(path: &Path, recursive: bool) -> Result<(), Failure> {
    let metadata = fs::symlink_metadata(path).map_err(|error| Failure::file(path, &error))?;
    let removed = match (metadata.is_dir(), recursive) {
        (false, _) => fs::remove_file(path),
        (true, true) => fs::remove_dir_all(path),
        (true, false) => {
            let message =
                format!("is a directory: pass recursive=true to delete it with its contents: {}", path.display());
            return Err(Failure::new(Kind::InvalidFilePath, message));
        }
    };
    removed.map_err(|error| Failure::file(path, &error))
}
