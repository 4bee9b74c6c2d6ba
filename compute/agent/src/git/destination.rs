//! The directory that a clone goes to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::http::error::{Failure, Kind};

/// An empty directory, and what was made for it.
#[derive(Debug)]
pub struct Destination {
    /// Without symbolic links.
    pub path: PathBuf,
    /// Directories that were not there, the outermost first.
    made: Vec<PathBuf>,
}

impl Destination {
    /// Makes the directory with its parents. One that is there must be empty.
    pub fn prepare(path: &Path) -> Result<Self, Failure> {
        let mut made = Vec::new();
        let result = make(path, &mut made).and_then(|()| fs::canonicalize(path));
        match result {
            Ok(path) => Ok(Self { path, made }),
            Err(error) => {
                remove_empty(&made);
                Err(match error.kind() {
                    io::ErrorKind::DirectoryNotEmpty => {
                        let text = "already exists and is not an empty directory";
                        Failure::new(Kind::Conflict, format!("{text}: {}", path.display()))
                    }
                    _ => Failure::file(path, &error),
                })
            }
        }
    }

    /// Takes back what was made, and empties what was there.
    pub fn remove(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        remove_empty(&self.made);
        Ok(())
    }
}

fn make(path: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => {
            made.push(path.to_owned());
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match fs::read_dir(path)?.next() {
            None => Ok(()),
            Some(_) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().ok_or(error)?;
            make_parent(parent, made)?;
            make(path, made)
        }
        Err(error) => Err(error),
    }
}

fn make_parent(path: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => {
            made.push(path.to_owned());
            Ok(())
        }
        // A symbolic link to nothing cannot be made a directory.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_parent(path.parent().ok_or(error)?, made)?;
            make_parent(path, made)
        }
        Err(error) => Err(error),
    }
}

/// What others put into them meanwhile stays.
fn remove_empty(made: &[PathBuf]) {
    for path in made.iter().rev() {
        let _ = fs::remove_dir(path);
    }
}
