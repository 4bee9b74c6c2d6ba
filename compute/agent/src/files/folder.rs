//! `POST /files/folder`.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use http::StatusCode;

use super::permissions::parse_mode;
use crate::agent::Agent;
use crate::http::error::{Failure, Kind};
use crate::http::request::{Request, blocking};
use crate::http::response::{self, Response};

/// Makes a directory with its parents. One that exists is left as it is.
pub async fn create(agent: &Agent, request: &Request) -> Result<Response, Failure> {
    let path = agent.resolve(request.query.required("path")?);
    let mode = request.query.get("mode").filter(|mode| !mode.is_empty()).map_or(Ok(0o755), parse_mode)?;
    blocking(move || make(&path, mode)).await?;
    Ok(response::empty(StatusCode::CREATED))
}

fn make(path: &Path, mode: u32) -> Result<(), Failure> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_parents(parent)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        // The mode is exact, whatever the umask says.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let message = format!("exists and is not a directory: {}", path.display());
            return Err(Failure::new(Kind::InvalidFilePath, message));
        }
        Err(error) => Err(error),
    }
    .map_err(|error| Failure::file(path, &error))
}

/// Directories that an operation needs, with mode 0755.
pub fn make_parents(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::new(Kind::InvalidFilePath, format!("is not a directory: {}", path.display()))
        }
        _ => Failure::file(path, &error),
    })
}
