//! `POST /files/move`.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::walk::Walk;
use crate::agent::Agent;
use crate::http::error::{Failure, Kind};
use crate::http::request::{Request, blocking};
use crate::http::response::Response;
use crate::http::routes::done;

/// Never replaces anything. Across devices, and for directories of the image that the overlay cannot rename, it
/// copies and then deletes the source.
pub async fn rename(agent: &Agent, request: &Request) -> Result<Response, Failure> {
    let source = agent.resolve(request.query.required("source")?);
    let destination = agent.resolve(request.query.required("destination")?);
    blocking(move || {
        fs::symlink_metadata(&source).map_err(|error| Failure::file(&source, &error))?;
        match renameat2(AT_FDCWD, &source, AT_FDCWD, &destination, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => Ok(()),
            Err(nix::Error::EXDEV) => carry(&source, &destination),
            Err(error) => Err(failure(&source, &destination, error.into())),
        }
    })
    .await?;
    Ok(done())
}

fn failure(source: &Path, destination: &Path, error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::new(Kind::Conflict, format!("the destination exists: {}", destination.display()))
        }
        io::ErrorKind::NotFound => Failure::file(destination.parent().unwrap_or(destination), &error),
        io::ErrorKind::InvalidInput => {
            let message = format!("cannot move {} into itself: {}", source.display(), destination.display());
            Failure::new(Kind::InvalidFilePath, message)
        }
        _ => Failure::file(destination, &error),
    }
}

/// Copies, then deletes. A copy that fails is taken away again.
fn carry(source: &Path, destination: &Path) -> Result<(), Failure> {
    if fs::symlink_metadata(destination).is_ok() {
        return Err(failure(source, destination, io::ErrorKind::AlreadyExists.into()));
    }
    if destination.starts_with(source) {
        return Err(failure(source, destination, io::ErrorKind::InvalidInput.into()));
    }
    if let Err(error) = copy_tree(source, destination) {
        let _ = remove(destination);
        return Err(Failure::file(destination, &error));
    }
    remove(source).map_err(|error| Failure::file(source, &error))
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn copy_tree(source: &Path, destination: &Path) -> io::Result<()> {
    copy_one(source, destination)?;
    if !fs::symlink_metadata(source)?.is_dir() {
        return Ok(());
    }
    let mut directories = vec![(source.to_owned(), destination.to_owned())];
    for entry in Walk::new(source, usize::MAX)? {
        let below = entry.path.strip_prefix(source).map_err(io::Error::other)?;
        let target = destination.join(below);
        copy_one(&entry.path, &target)?;
        if entry.kind.is_dir() {
            directories.push((entry.path, target));
        }
    }
    // Last, for a directory may forbid its owner to write.
    for (from, to) in directories.iter().rev() {
        fs::set_permissions(to, Permissions::from_mode(fs::metadata(from)?.mode() & 0o7777))?;
    }
    Ok(())
}

fn copy_one(source: &Path, destination: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(source)?.file_type();
    if kind.is_dir() {
        fs::create_dir(destination)
    } else if kind.is_symlink() {
        symlink(fs::read_link(source)?, destination)
    } else if kind.is_file() {
        fs::copy(source, destination).map(|_| ())
    } else {
        Err(io::Error::other("sockets, pipes and devices cannot be moved to another file system"))
    }
}
