//! Which shell runs a command, and how the command reaches it.
//!
//! The first of zsh, bash and sh that the sandbox has, as the official documentation promises. The command is an
//! argument (`-c`), so that its own standard input is free: `/dev/null`, where a program that reads finds the end at
//! once instead of waiting. Linux takes arguments of at most 128 KiB (`MAX_ARG_STRLEN`); a longer command is a file
//! in memory that the shell reads as its script.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::environment::Variables;
use super::program;

const SHELLS: [&str; 3] = ["zsh", "bash", "sh"];
/// Below `MAX_ARG_STRLEN`, which counts the closing zero.
pub const LONGEST_ARGUMENT: usize = 128 * 1024 - 1;
/// Where a script finds descriptor 3 as a file.
const SCRIPT: &str = "/proc/self/fd/3";

/// The shell to use, none in an image without one.
pub fn find(variables: &Variables) -> Option<PathBuf> {
    SHELLS.iter().find_map(|name| program::find(name, variables))
}

/// Arguments for the shell and, for long commands, the file that must be its descriptor 3.
pub fn arguments(command: &str) -> std::io::Result<(Vec<String>, Option<File>)> {
    if command.len() < LONGEST_ARGUMENT {
        // After `--`, for a command may begin as an option does.
        return Ok((vec!["-c".to_owned(), "--".to_owned(), command.to_owned()], None));
    }
    Ok((vec![SCRIPT.to_owned()], Some(memory_file(command.as_bytes())?)))
}

/// A file without a name, at its beginning.
pub fn memory_file(content: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(memfd_create(c"script", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(content)?;
    std::io::Seek::rewind(&mut file)?;
    Ok(file)
}
