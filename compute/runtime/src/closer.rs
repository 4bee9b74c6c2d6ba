//! Closes descriptors later, on a thread of its own.
//!
//! Closing the last descriptor of a detached mount or of a namespace takes it apart, which waits for other CPUs (an RCU grace
//! period each). That must not be part of the time a start takes.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc;

/// Takes descriptors that are needed no more.
#[derive(Debug, Clone)]
pub struct Closer(mpsc::Sender<OwnedFd>);

impl Closer {
    /// Starts the thread; it ends with the last clone of this.
    pub fn start() -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        std::thread::Builder::new()
            .name("closer".into())
            .spawn(move || receiver.into_iter().for_each(drop::<OwnedFd>))?;
        Ok(Self(sender))
    }

    /// Closes the descriptor soon.
    pub fn close(&self, fd: OwnedFd) {
        // If the thread has ended, the descriptor comes back in the error and is closed here.
        drop(self.0.send(fd));
    }
}
