//! Sandboxes of the default snapshot, made ahead of need up to their agents, which wait for their configuration.
//!
//! What is left to a create is what only its user knows: name, variables, network. It asks for the id of one that is ready
//! ([`sebring_types::Runner::prepared`]) and creates it by that. Until then nobody has told it anything and nothing of it
//! runs; on disk it is a sandbox whose create is under way, so that the next server removes what this one leaves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sebring_fault::{Point, point};
use sebring_types::runner::{Egress, SandboxSpec};
use sebring_types::{Resources, RunnerError, SandboxId, SnapshotId};
use tokio::sync::Notify;

use crate::boot::Made;
use crate::record::Record;
use crate::runner::Inner;
use crate::starts::{Disk, blocking};

/// Places for running sandboxes that are left to those which are asked for.
const LEFT_FREE: usize = 64;
/// After a failure: what is missing, the snapshot perhaps, is not there in an instant.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// One of them.
#[derive(Debug)]
pub(crate) struct Kept {
    record: Record,
    pub made: Made,
}

impl Kept {
    /// Whether a create of that kind can have it.
    pub fn suits(&self, snapshot: SnapshotId, resources: Resources) -> bool {
        self.record.snapshot_id == snapshot && self.record.spec.resources == resources
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Warm {
    kept: Mutex<State>,
    /// Creates under way.
    creates: AtomicUsize,
    /// The last of them has ended, or what was missing may be there now.
    changed: Arc<Notify>,
}

/// A create under way, until it is dropped.
pub(crate) struct Create<'a>(&'a Warm);

impl Drop for Create<'_> {
    fn drop(&mut self) {
        if self.0.creates.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_one();
        }
    }
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<Kept>,
    /// Whose ids are with somebody who creates or destroys them.
    promised: Vec<Kept>,
}

impl Warm {
    /// The id of one of that kind, for whoever creates or destroys it.
    pub fn promise(&self, snapshot: SnapshotId, resources: Resources) -> Option<SandboxId> {
        let mut state = self.lock();
        let suited = state.ready.iter().position(|kept| kept.suits(snapshot, resources))?;
        let kept = state.ready.remove(suited);
        let id = kept.record.spec.id;
        state.promised.push(kept);
        Some(id)
    }

    /// One that was promised.
    pub fn claim(&self, id: SandboxId) -> Option<Kept> {
        let mut state = self.lock();
        let place = state.promised.iter().position(|kept| kept.record.spec.id == id)?;
        Some(state.promised.swap_remove(place))
    }

    /// Holds back the making of others, which would hold this create up.
    pub fn create(&self) -> Create<'_> {
        self.creates.fetch_add(1, Ordering::AcqRel);
        Create(self)
    }

    /// Whether it is time to make one.
    fn wants(&self, count: usize) -> bool {
        self.creates.load(Ordering::Acquire) == 0 && self.lock().ready.len() < count
    }

    /// One was taken and not used.
    pub fn refill(&self) {
        self.changed.notify_one();
    }

    /// One that nobody was promised.
    pub fn spare(&self) -> Option<Kept> {
        self.lock().ready.pop()
    }

    /// One that no create can have any more: a newer snapshot has its name.
    fn outdated(&self, snapshot: SnapshotId) -> Option<Kept> {
        let mut state = self.lock();
        let place = state.ready.iter().position(|kept| kept.record.snapshot_id != snapshot)?;
        Some(state.ready.remove(place))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

/// Keeps as many as the configuration wants, until the runner is dropped.
pub(crate) fn keep(runner: &Arc<Inner>) {
    let wanted = runner.host.config.warm.count;
    if wanted == 0 {
        return;
    }
    let (runner, changed) = (Arc::downgrade(runner), runner.warm.changed.clone());
    tokio::spawn(async move {
        let mut pause = FIRST_PAUSE;
        while let Some(inner) = runner.upgrade() {
            inner.clone().discard_outdated().await;
            if !inner.warm.wants(wanted) {
                drop(inner);
                changed.notified().await;
                continue;
            }
            match inner.make_one().await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(error) => {
                    tracing::debug!(%error, ?pause, "no sandbox made ahead of need");
                    let _early = tokio::time::timeout(pause, changed.notified()).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    });
}

impl Inner {
    async fn make_one(self: Arc<Self>) -> Result<(), RunnerError> {
        let manifest = self.manifests.find(&self.host.snapshots, &self.host.config.warm.snapshot)?;
        self.check_room()?;
        if self.slots.left() < LEFT_FREE {
            return Err(RunnerError::Exhausted("few places for running sandboxes are left".into()));
        }
        // Behind all creates that wait now.
        let _permit = self.permit().await?;
        let slot = self.slots.take().await?;
        let number = slot.number;
        let id = SandboxId::generate();
        let spec = SandboxSpec {
            id,
            name: id.to_string(),
            hostname: id.to_string(),
            snapshot: manifest.name.clone(),
            user: None,
            env: BTreeMap::new(),
            resources: manifest.resources,
            egress: Egress::default(),
            linked_to: None,
        };
        let record = Record::new(spec, manifest.id, number);
        let inner = self.clone();
        let made = blocking("making of a sandbox", move || {
            let made = inner.make(&record, &manifest, slot, Disk::New)?;
            Ok(Kept { record, made })
        });
        match made.await {
            Ok(kept) => {
                point(Point::WarmMade);
                self.warm.lock().ready.push(kept);
                Ok(())
            }
            Err(error) => {
                self.forget(id, number);
                Err(error)
            }
        }
    }

    async fn discard_outdated(self: Arc<Self>) {
        let name = &self.host.config.warm.snapshot;
        let Ok(manifest) = self.manifests.find(&self.host.snapshots, name) else { return };
        while let Some(kept) = self.warm.outdated(manifest.id) {
            let id = kept.record.spec.id;
            if let Err(error) = self.clone().discard(kept).await {
                tracing::warn!(sandbox_id = %id, %error, "a sandbox of an older snapshot stays until the next start");
            }
        }
    }

    /// Ends one that is not wanted, and removes what there is of it.
    pub(crate) async fn discard(self: Arc<Self>, kept: Kept) -> Result<(), RunnerError> {
        let id = kept.record.spec.id;
        let inner = self.clone();
        blocking("end of a sandbox", move || {
            let slot = kept.made.slot;
            if let Err(error) = kept.made.disk.abandon() {
                tracing::debug!(sandbox_id = %id, %error, "a disk is written out before it is deleted");
            }
            kept.made.end(id);
            inner.forget(id, slot);
            Ok(())
        })
        .await
    }

    /// Removes the files of one that does not run, and gives its slot back.
    pub(crate) fn forget(&self, id: SandboxId, slot: u16) {
        if let Err(left) = self.remove_files(id) {
            tracing::warn!(sandbox_id = %id, %left, "files of a failed create stay until the next start");
        }
        self.vacate(slot, None);
    }
}
