//! What is kept in memory of each sandbox: what the toolbox path needs without asking the database.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use sebring_store::Sandbox;
use sebring_types::{OrganizationId, SandboxId, SandboxState};
use tokio::sync::Mutex;

use crate::activity::Activity;

/// One sandbox, in memory.
#[derive(Debug)]
pub struct Live {
    pub id: SandboxId,
    pub organization: OrganizationId,
    status: RwLock<Status>,
    pub(crate) activity: Activity,
    in_flight: AtomicUsize,
    /// Held by the one operation that may change the sandbox.
    pub(crate) turn: Arc<Mutex<()>>,
}

#[derive(Debug, Clone)]
struct Status {
    version: i64,
    state: SandboxState,
    public: bool,
    signing_key: Arc<str>,
}

impl Live {
    pub(crate) fn new(sandbox: &Sandbox) -> Arc<Self> {
        Arc::new(Self {
            id: sandbox.id,
            organization: sandbox.organization,
            status: RwLock::new(Status::of(sandbox)),
            activity: Activity::new(sandbox.last_activity_at),
            in_flight: AtomicUsize::new(0),
            turn: Arc::default(),
        })
    }

    /// The state as it was last written.
    pub fn state(&self) -> SandboxState {
        self.status().state
    }

    /// Whether previews need no key.
    pub fn public(&self) -> bool {
        self.status().public
    }

    /// The key that its file URLs are signed with.
    pub fn signing_key(&self) -> Arc<str> {
        self.status().signing_key
    }

    /// Counts as activity until it is dropped.
    pub fn busy(self: &Arc<Self>) -> Busy {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.activity.touch();
        Busy { live: Arc::clone(self) }
    }

    /// Whether requests are under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
    }

    /// Takes a change over and does what follows from it, unless a newer one was taken over before.
    pub(crate) fn apply(&self, sandbox: &Sandbox, then: impl FnOnce()) {
        let mut status = self.status.write().unwrap_or_else(PoisonError::into_inner);
        if sandbox.version >= status.version {
            *status = Status::of(sandbox);
            then();
        }
    }

    fn status(&self) -> Status {
        self.status.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Status {
    fn of(sandbox: &Sandbox) -> Self {
        Self {
            version: sandbox.version,
            state: sandbox.state,
            public: sandbox.public,
            signing_key: sandbox.signing_key.as_str().into(),
        }
    }
}

/// A request to the sandbox that is under way.
#[derive(Debug)]
pub struct Busy {
    live: Arc<Live>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.live.activity.touch();
        self.live.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Every sandbox that is there.
#[derive(Debug, Default)]
pub(crate) struct Table {
    live: RwLock<HashMap<SandboxId, Arc<Live>>>,
}

impl Table {
    pub fn get(&self, id: SandboxId) -> Option<Arc<Live>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// The sandbox's place; made when it has none.
    pub fn of(&self, sandbox: &Sandbox) -> Arc<Live> {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(live.entry(sandbox.id).or_insert_with(|| Live::new(sandbox)))
    }

    pub fn remove(&self, id: SandboxId) {
        self.live.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    pub fn all(&self) -> Vec<Arc<Live>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn older_change_does_not_undo_a_newer() {
        let older = sebring_testing::Rig::new().await.sandbox().await;
        let newer = Sandbox { version: older.version + 1, state: SandboxState::Stopped, ..older.clone() };
        let live = Live::new(&older);
        live.apply(&newer, || {});
        live.apply(&older, || panic!("nothing follows from an older change"));
        assert_eq!(live.state(), SandboxState::Stopped);
    }
}
