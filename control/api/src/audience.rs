//! Who is told of the end of a sandbox before whoever asked for it.
//!
//! Answers and events go over two connections, which no protocol orders. What a server can do is to hand its events to the
//! connections of those who listen first: then a program whose last act is to delete a sandbox has the last event when it
//! has the answer, instead of while it ends.

use std::sync::Arc;
use std::time::Duration;

use sebring_events::{Event, EventKind, RecvError};
use sebring_store::Sandbox;
use sebring_types::{OrganizationId, SandboxId, SandboxState};
use tokio::sync::broadcast::{Receiver, Sender};
use tokio::time::timeout;

use crate::socket::Rooms;

/// How long an answer waits for the end that it tells; deletions take a few milliseconds.
const PATIENCE: Duration = Duration::from_millis(100);
/// Ends that wait for the slowest answer.
const BACKLOG: usize = 1024;

/// Those who hear events; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Audience {
    pub rooms: Rooms,
    ends: Arc<Sender<(SandboxId, SandboxState)>>,
}

impl Audience {
    pub fn new() -> Self {
        Self { rooms: Rooms::default(), ends: Arc::new(Sender::new(BACKLOG)) }
    }

    /// Hears of ends from now on; none where nobody listens, and nobody needs to wait.
    pub fn attend(&self, organization: OrganizationId) -> Option<Ends> {
        (!self.rooms.of(organization).is_empty()).then(|| Ends(self.ends.subscribe()))
    }

    /// Notes that everybody was told of this event.
    pub async fn told(&self, event: &Event) {
        if let EventKind::StateUpdated { new: new @ (SandboxState::Destroyed | SandboxState::Error), .. } = event.kind
            && self.ends.receiver_count() > 0
        {
            // Lets tasks that write to connections go first, as far as the runtime allows.
            tokio::task::yield_now().await;
            // Whoever waited may have gone.
            let _ = self.ends.send((event.sandbox.id, new));
        }
    }
}

/// The ends of sandboxes, as they are told.
pub(crate) struct Ends(Receiver<(SandboxId, SandboxState)>);

impl Ends {
    /// The sandbox as it is once everybody was told of its end, or after a while.
    pub async fn of(mut self, mut deleted: Sandbox) -> Sandbox {
        let told = async {
            loop {
                match self.0.recv().await {
                    Ok((id, state)) if id == deleted.id => return Some(state),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        };
        if let Ok(Some(SandboxState::Destroyed)) = timeout(PATIENCE, told).await {
            deleted.state = SandboxState::Destroyed;
        }
        deleted
    }
}
