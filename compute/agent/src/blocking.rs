//! Threads for work that blocks: file operations, mostly.
//!
//! One thread for each piece of work, which costs some 20 µs and leaves nothing behind when the agent idles. A sandbox
//! at its limit of processes gets no more threads. The agent must answer even then, so it does short work itself, and
//! refuses what streams.

use std::sync::Arc;
use std::thread::Builder;

use tokio::sync::oneshot;

use crate::http::error::{Failure, Kind};
use crate::shared::Shared;

/// Work holds little on its stack: directories are walked with a list, buffers are on the heap. Only the standard
/// library's recursive deletion goes deep, by a small frame and a descriptor for each directory.
const STACK: usize = 1024 * 1024;

/// Does the work on another thread, or here when there is none to be had.
pub async fn run<T, F>(work: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    // Shared, to have it back when no thread takes it.
    let work = Arc::new(Shared::new(Some(work)));
    let given = Arc::clone(&work);
    let started = Builder::new().stack_size(STACK).spawn(move || {
        let taken = given.lock().take();
        if let Some(work) = taken {
            // The request may have been given up.
            let _ = sender.send(work());
        }
    });
    if started.is_err() {
        let taken = work.lock().take();
        if let Some(work) = taken {
            return work();
        }
    }
    match receiver.await {
        Ok(result) => result,
        // A thread that has taken the work gives its result, or the whole agent ends.
        Err(_) => std::future::pending().await,
    }
}

/// Starts work that goes along with the request: it feeds or consumes a stream.
pub fn start(work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    match Builder::new().stack_size(STACK).spawn(work) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::new(
            Kind::Unavailable,
            format!("cannot start a thread: {error}: end some processes of the sandbox"),
        )),
    }
}
