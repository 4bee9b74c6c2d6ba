//! The output of a short-lived program, kept up to a limit.

use std::io;
use std::os::fd::OwnedFd;

use tokio::net::unix::pipe::Receiver;

use super::session::command::{read_now, waiting};

/// What one answer holds of a program's output. A program may write more: it is read, counted and dropped, so that
/// neither the program stops nor the sandbox's memory fills.
pub const LIMIT: usize = 16 * 1024 * 1024;
const CHUNK: usize = 32 * 1024;

/// Reads a program's output.
#[derive(Debug)]
pub struct Capture {
    pipe: Receiver,
    kept: Vec<u8>,
    dropped: u64,
    open: bool,
}

impl Capture {
    /// The reading half, and the end that the program writes to.
    pub fn new() -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = io::pipe()?;
        nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        let pipe = Receiver::from_owned_fd(reader.into())?;
        Ok((Self { pipe, kept: Vec::new(), dropped: 0, open: true }, writer.into()))
    }

    /// Reads until every writer has closed its end. Cancelling it loses nothing.
    pub async fn read_to_end(&mut self) -> io::Result<()> {
        while self.open {
            self.pipe.readable().await?;
            match self.read_some() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_some(&mut self) -> io::Result<usize> {
        let mut chunk = [0; CHUNK];
        let length = read_now(&self.pipe, &mut chunk)?;
        let fits = length.min(LIMIT - self.kept.len());
        self.kept.extend_from_slice(&chunk[..fits]);
        self.dropped += (length - fits) as u64;
        self.open = length > 0;
        Ok(length)
    }

    /// Takes what there is now for the whole output, and returns it as text, with replacement characters for bytes that
    /// are none, and a last line that tells of what was dropped. Programs that go on in the background can write as
    /// before; nobody reads it.
    pub fn into_text(mut self) -> String {
        let mut left = waiting(&self.pipe);
        while left > 0 && self.open {
            match self.read_some() {
                Ok(length) => left = left.saturating_sub(length as u64),
                Err(_) => break,
            }
        }
        if self.open {
            tokio::spawn(discard(self.pipe));
        }
        let mut text = match String::from_utf8(self.kept) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        if self.dropped > 0 {
            text.push_str(&format!(
                "\n[output truncated: {} more bytes; write long output to a file and download it]\n",
                self.dropped
            ));
        }
        text
    }
}

/// Reads what background programs write until the last of them ends, so that none of them stops at a full pipe or is
/// killed by a closed one.
async fn discard(pipe: Receiver) {
    loop {
        if pipe.readable().await.is_err() {
            return;
        }
        match pipe.try_read(&mut [0; CHUNK]) {
            Ok(length) if length > 0 => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => return,
        }
    }
}
