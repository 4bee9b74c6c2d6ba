//! A file's bytes on their way into an answer: read ahead by little, in buffers that are used again and again, so a
//! download of any size takes the same memory.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::guest::limits::return_memory;
use crate::shared::Shared;

const SIZE: usize = 256 * 1024;
/// Chunks that wait for the socket.
const AHEAD: usize = 2;

/// Where a producer on a blocking thread puts the pieces of a streamed answer.
pub struct Sink {
    sender: mpsc::Sender<io::Result<Bytes>>,
    spare: Spare,
}

/// The reader of the answer has gone, or the file ended before its length.
#[derive(Debug)]
pub struct Interrupted;

/// Buffers that wait for their next use, and go back to the kernel at the end of an answer that was large.
#[derive(Default)]
struct Buffers(Shared<Vec<Vec<u8>>>);

type Spare = Arc<Buffers>;

/// A buffer that returns to its spares when its bytes are sent.
struct Chunk {
    buffer: Vec<u8>,
    length: usize,
    spare: Spare,
}

impl Drop for Buffers {
    fn drop(&mut self) {
        let buffers = std::mem::take(&mut *self.0.lock());
        let large = buffers.iter().map(Vec::len).sum::<usize>() > SIZE;
        drop(buffers);
        if large {
            return_memory();
        }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.spare.0.lock().push(std::mem::take(&mut self.buffer));
    }
}

impl Sink {
    pub fn new() -> (Self, mpsc::Receiver<io::Result<Bytes>>) {
        let (sender, receiver) = mpsc::channel(AHEAD);
        (Self { sender, spare: Spare::default() }, receiver)
    }

    pub fn text(&self, text: String) -> Result<(), Interrupted> {
        self.send(Ok(text.into()))
    }

    pub fn bytes(&self, bytes: Vec<u8>) -> Result<(), Interrupted> {
        self.send(Ok(bytes.into()))
    }

    /// Sends `length` bytes from where the file is read next. An error, also an early end, breaks the answer off, for
    /// its length has been promised.
    pub fn exactly(&self, file: &mut File, length: u64) -> Result<(), Interrupted> {
        match self.at_most(file, length)? {
            0 => Ok(()),
            _ => self.break_off(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Sends `length` bytes, or fewer if the file ends before; answers how many are missing.
    pub fn at_most(&self, file: &mut File, length: u64) -> Result<u64, Interrupted> {
        let mut left = length;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(SIZE).min(SIZE);
            match self.read(file, most) {
                Ok((_, 0)) => break,
                Ok((chunk, read)) => {
                    self.send(Ok(chunk))?;
                    left -= read as u64;
                }
                Err(error) => self.break_off(error)?,
            }
        }
        Ok(left)
    }

    /// Sends everything to the end: for files that do not know their length, as in `/proc`.
    pub fn to_end(&self, file: &mut File) -> Result<(), Interrupted> {
        loop {
            match self.read(file, SIZE) {
                Ok((_, 0)) => return Ok(()),
                Ok((chunk, _)) => self.send(Ok(chunk))?,
                Err(error) => return self.break_off(error),
            }
        }
    }

    fn read(&self, file: &mut File, most: usize) -> io::Result<(Bytes, usize)> {
        let buffer = self.spare.0.lock().pop();
        let mut buffer = buffer.unwrap_or_default();
        // Small files need small buffers; those of large ones grow once.
        if buffer.len() < most {
            buffer.resize(most, 0);
        }
        let length = file.read(&mut buffer[..most])?;
        Ok((Bytes::from_owner(Chunk { buffer, length, spare: Arc::clone(&self.spare) }), length))
    }

    /// Ends the answer in a way that its reader can't take for a complete one.
    pub fn break_off(&self, error: io::Error) -> Result<(), Interrupted> {
        self.send(Err(error))?;
        Err(Interrupted)
    }

    fn send(&self, piece: io::Result<Bytes>) -> Result<(), Interrupted> {
        self.sender.blocking_send(piece).map_err(|_| Interrupted)
    }
}
