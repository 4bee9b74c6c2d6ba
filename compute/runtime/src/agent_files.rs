//! `/.sbx` of all sandboxes: one small read-only tmpfs with the agent's program in it, shared.
//!
//! It is attached in the [`ward`](crate::ward), so that neither the program nor the place of the control directory is ever
//! looked up in a file system that a sandbox wrote. Nobody but the host's root may list the directories: what can be opened
//! could be watched and locked, and these are the same in all sandboxes.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Context, RuntimeError};
use crate::mounts::{self, Attributes};

const DIRECTORIES: [&str; 2] = ["bin", "ctl"];

/// The mounted template.
#[derive(Debug)]
pub struct AgentFiles {
    path: PathBuf,
    program: FileId,
}

/// Tells a file from all others of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    pub device: u64,
    pub inode: u64,
}

impl AgentFiles {
    /// Mounts and fills the template at an existing directory, in this process's mount namespace. If only the host's root may
    /// read the `program`, the kernel keeps a running agent from everybody inside, whatever their capabilities there
    /// (`would_dump` in fs/exec.c).
    pub fn mount(path: &Path, program: &Path) -> Result<Self, RuntimeError> {
        let program = mount(path, program).step("template of the agent's files")?;
        Ok(Self { path: path.to_owned(), program })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn program(&self) -> FileId {
        self.program
    }
}

fn mount(path: &Path, program: &Path) -> io::Result<FileId> {
    let options = [(c"source", "sebring-agent"), (c"mode", "0111"), (c"size", "16k")];
    let template = mounts::new_filesystem(c"tmpfs", &options, 0)?;
    mounts::attach(template.as_fd(), path)?;
    for name in DIRECTORIES {
        fs::create_dir(path.join(name))?;
        fs::set_permissions(path.join(name), fs::Permissions::from_mode(0o111))?;
    }
    let place = path.join("bin/agent");
    File::create(&place)?;
    mounts::restrict(template.as_fd(), Attributes::READ_ONLY_DATA)?;
    let file = mounts::clone_tree(program).map_err(io::Error::other)?;
    mounts::restrict(file.as_fd(), Attributes::PROGRAM)?;
    mounts::attach(file.as_fd(), &place)?;
    let found = fs::metadata(&place)?;
    Ok(FileId { device: found.dev(), inode: found.ino() })
}
