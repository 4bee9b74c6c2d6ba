//! The way into a session's shell: a named pipe that the shell runs as its script, and a directory of files beside it.
//!
//! The shell opens the pipe itself, so it keeps it on a descriptor of its own that no program inherits. The pipe holds
//! one page and a page holds one line, so it can be written to exactly when the shell has read all there was: a line is
//! read when the shell has done the one before. That is how the agent learns that a command is over, whatever the
//! command did to the shell, and it needs no polling.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// In memory, so also there when the disk is full; `/tmp` where the sandbox has none.
const PLACES: [&str; 2] = ["/dev/shm", "/tmp"];
/// The smallest pipe there is.
const PAGE: libc::c_int = 4096;

/// The writing end of a shell's script.
#[derive(Debug)]
pub struct Script(AsyncFd<OwnedFd>);

impl Script {
    /// Makes the pipe. The shell that opens it reads the first line as soon as there is one.
    pub fn make(path: &Path) -> io::Result<Self> {
        mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        // For reading as well: the shell's opening then waits for nothing, and ours needs no shell.
        let pipe = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(PAGE))?;
        // SAFETY: the descriptor is the value's own, and stays open as long as it.
        Ok(Self(unsafe { AsyncFd::register_with_interest(pipe.into(), Interest::WRITABLE) }?))
    }

    /// Gives the shell one more line. The former one must have been taken.
    pub async fn send(&self, line: &str) -> io::Result<()> {
        let mut ready = self.0.writable().await?;
        nix::unistd::write(&self.0, line.as_bytes())?;
        ready.clear_ready();
        Ok(())
    }

    /// Waits until the shell has read the last line.
    pub async fn taken(&self) -> io::Result<()> {
        self.0.writable().await.map(drop)
    }
}

/// The files through which a session's shell gets its commands. Gone with this value.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    pub fn make() -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let name = format!(".sebring-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut made = Err(io::Error::from(io::ErrorKind::NotFound));
        for place in PLACES {
            let path = Path::new(place).join(&name);
            // Left from before a restart of the sandbox.
            let _ = fs::remove_dir_all(&path);
            made = create(&path).map(|()| Self(path));
            if made.is_ok() {
                break;
            }
        }
        made
    }

    /// Makes it once more, should the sandbox have removed it. Whether it had.
    pub fn restore(&self) -> io::Result<bool> {
        if self.0.is_dir() { Ok(false) } else { create(&self.0).map(|()| true) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The path as one word of a shell. It is our own and has no quotes.
    pub fn word(&self, name: &str) -> String {
        format!("'{}'", self.path(name).display())
    }

    /// What every line of ours and its trace have in them: the sourcing of a file from here.
    pub fn is_mentioned(&self, line: &str) -> bool {
        ["", "'"].iter().any(|quote| line.contains(&format!(". {quote}{}/", self.0.display())))
    }

    pub fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file: File = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(self.path(name))?;
        file.write_all(text.as_bytes())
    }

    pub fn pipe(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path(name);
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        Ok(path)
    }

    /// What follows the prefix in the name of a file.
    pub fn find(&self, prefix: &str) -> Option<String> {
        let names = fs::read_dir(&self.0).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| name.strip_prefix(prefix).map(str::to_owned)).next()
    }

    /// Whether there was such a file.
    pub fn remove(&self, name: &str) -> bool {
        // The sandbox may have removed it.
        fs::remove_file(self.path(name)).is_ok()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn create(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_line_is_taken_when_all_of_it_has_been_read() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let path = directory.path().join("pipe");
        let script = Script::make(&path).expect("a pipe");
        let mut reader = File::open(&path).expect("it has a writer");
        for line in ["one\n", "two\n"] {
            script.send(line).await.expect("room for a line");
            assert!(script.taken().now_or_never().is_none());
            let mut read = [0; 3];
            reader.read_exact(&mut read).expect("a line");
            tokio::task::yield_now().await;
            assert!(script.taken().now_or_never().is_none(), "one byte is left");
            reader.read_exact(&mut read[..1]).expect("a line's end");
            script.taken().await.expect("a pipe");
        }
    }
}
