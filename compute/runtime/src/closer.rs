//! Closes descriptors later, on a thread of its own.
//!
//! Closing the last descriptor of a detached mount or of a namespace takes it apart, which waits for other CPUs (an RCU grace
//! period each). That must not be part of the time a start takes.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc;

/// Takes descriptors that are needed no more.
#[derive(Debug, Clone)]
pub struct Closer(mpsc::Sender<Job>);

#[derive(Debug)]
enum Job {
    Close(OwnedFd),
    /// Tell when all that came before is closed.
    Tell(mpsc::Sender<()>),
}

impl Closer {
    /// Starts the thread; it ends with the last clone of this.
    pub fn start() -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        std::thread::Builder::new().name("closer".into()).spawn(move || receiver.into_iter().for_each(Job::run))?;
        Ok(Self(sender))
    }

    /// Closes the descriptor soon.
    pub fn close(&self, fd: OwnedFd) {
        // If the thread has ended, the descriptor comes back in the error and is closed here.
        drop(self.0.send(Job::Close(fd)));
    }

    /// Waits until all that was given to it before is closed.
    pub fn settle(&self) {
        let (tell, told) = mpsc::channel();
        drop(self.0.send(Job::Tell(tell)));
        // Fails when the thread has ended, which closed everything.
        let _ = told.recv();
    }
}

impl Job {
    fn run(self) {
        match self {
            Self::Close(fd) => drop(fd),
            // Nobody waits any more if this fails.
            Self::Tell(tell) => drop(tell.send(())),
        }
    }
}
