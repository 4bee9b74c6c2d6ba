//! A program to run, in the words of its callers, and the search for it in `PATH`.

use std::ffi::{CString, NulError};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::environment::Variables;
use super::spawn::Launch;
use super::tree::MARK;

/// What to run and how, before it is turned into the kernel's words.
#[derive(Debug)]
pub struct Program<'a> {
    /// Found by [`find`].
    pub path: &'a Path,
    /// After the program's name.
    pub arguments: Vec<String>,
    pub variables: &'a Variables,
    pub directory: &'a Path,
}

impl Program<'_> {
    /// `job` marks its processes for [`super::tree::kill`].
    pub fn launch<'a>(
        &self,
        job: u64,
        descriptors: &'a [BorrowedFd<'a>],
        terminal: bool,
    ) -> Result<Launch<'a>, NulError> {
        let name = CString::new(self.path.as_os_str().as_bytes())?;
        let arguments = self.arguments.iter().map(|argument| CString::new(argument.as_str()));
        let variables = self.variables.iter().map(|(name, value)| CString::new(format!("{name}={value}")));
        let mark = CString::new(format!("{MARK}={job}"));
        Ok(Launch {
            program: name.clone(),
            arguments: std::iter::once(Ok(name)).chain(arguments).collect::<Result<_, _>>()?,
            environment: variables.chain([mark]).collect::<Result<_, _>>()?,
            directory: CString::new(self.directory.as_os_str().as_bytes())?,
            descriptors,
            terminal,
        })
    }
}

/// The first executable file of this name in the `PATH` of the variables. Looked for anew each time: programs come
/// and go in a sandbox.
pub fn find(name: &str, variables: &Variables) -> Option<PathBuf> {
    let directories = variables.get("PATH")?.split(':').filter(|directory| directory.starts_with('/'));
    directories.map(|directory| Path::new(directory).join(name)).find(|path| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    })
}
