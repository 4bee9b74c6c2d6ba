//! What happened to sandboxes, told to whoever listens inside this program.
//!
//! One bus. The lifecycle publishes after the store shows the new state; subscribers (Socket.IO today) turn events
//! into their own form. A subscriber that is too slow loses the oldest events, never holds the publisher up.
#![forbid(unsafe_code)]

use std::sync::Arc;

use sebring_store::Sandbox;
use sebring_types::{OrganizationId, SandboxState};
use tokio::sync::broadcast;
pub use tokio::sync::broadcast::error::RecvError;

/// Events that wait for the slowest subscriber.
const BACKLOG: usize = 4096;

/// Something that happened; `sandbox` is as it was right after.
#[derive(Debug, Clone)]
pub struct Event {
    pub sandbox: Arc<Sandbox>,
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Created,
    StateUpdated {
        old: SandboxState,
        new: SandboxState,
    },
    /// A process in it was killed for lack of memory; the sandbox goes on.
    OutOfMemory,
}

impl Event {
    /// Who may hear of it.
    pub fn organization(&self) -> OrganizationId {
        self.sandbox.organization
    }
}

/// The bus; clones share it.
#[derive(Debug, Clone)]
pub struct Events {
    sender: broadcast::Sender<Event>,
}

impl Events {
    /// A bus without subscribers.
    pub fn new() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG) }
    }

    /// Tells every subscriber.
    pub fn publish(&self, event: Event) {
        // An error means that nobody listens, which is fine.
        let _ = self.sender.send(event);
    }

    /// Hears all that is published from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}
