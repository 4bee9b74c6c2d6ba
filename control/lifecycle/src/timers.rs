//! One queue of due times for all sandboxes.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use sebring_types::SandboxId;
use tokio::sync::mpsc;
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

/// What falls due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Due {
    AutoStop,
    AutoDelete,
    Ttl,
}

impl Due {
    pub const ALL: [Self; 3] = [Self::AutoStop, Self::AutoDelete, Self::Ttl];
}

/// The longest the queue can wait at once; who is told too early asks again.
const LONGEST: Duration = Duration::from_secs(180 * 24 * 3600);

/// A handle on the queue. The queue ends with its last handle.
#[derive(Debug, Clone)]
pub(crate) struct Timers {
    changes: mpsc::UnboundedSender<(SandboxId, Due, Option<Timestamp>)>,
}

impl Timers {
    /// Starts a queue that calls `on_due`, not before the time and with no delay to speak of after it.
    pub fn start(on_due: impl Fn(SandboxId, Due) + Send + 'static) -> Self {
        let (changes, received) = mpsc::unbounded_channel();
        tokio::spawn(run(received, on_due));
        Self { changes }
    }

    /// Sets, replaces or (with none) clears one timer.
    pub fn set(&self, id: SandboxId, due: Due, at: Option<Timestamp>) {
        // An error means that the queue ended, with the program.
        let _ = self.changes.send((id, due, at));
    }

    /// Clears all timers of a sandbox.
    pub fn clear(&self, id: SandboxId) {
        for due in Due::ALL {
            self.set(id, due, None);
        }
    }
}

async fn run(
    mut changes: mpsc::UnboundedReceiver<(SandboxId, Due, Option<Timestamp>)>,
    on_due: impl Fn(SandboxId, Due),
) {
    let mut queue = DelayQueue::new();
    let mut keys: HashMap<(SandboxId, Due), Key> = HashMap::new();
    loop {
        tokio::select! {
            change = changes.recv() => {
                let Some((id, due, at)) = change else { return };
                if let Some(key) = keys.remove(&(id, due)) {
                    queue.remove(&key);
                }
                if let Some(at) = at {
                    keys.insert((id, due), queue.insert((id, due), until(at)));
                }
            }
            Some(expired) = queue.next(), if !queue.is_empty() => {
                let (id, due) = expired.into_inner();
                keys.remove(&(id, due));
                on_due(id, due);
            }
        }
    }
}

fn until(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default().min(LONGEST)
}
