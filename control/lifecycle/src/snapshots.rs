//! The snapshots that sandboxes can be created from: those that the runner holds.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use sebring_store::Snapshot;
use sebring_types::OrganizationId;

use crate::{Error, Lifecycle};

/// The use of a snapshot is written down at most this often.
const NOTE_EVERY: SignedDuration = SignedDuration::from_secs(1);

/// When the use of each snapshot, by name, was last written down.
#[derive(Debug, Default)]
pub(crate) struct Uses(Mutex<HashMap<String, Timestamp>>);

impl Uses {
    /// Whether it is time to write this use down; true for one caller.
    fn is_due(&self, name: &str, at: Timestamp) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match noted.get_mut(name) {
            Some(last) if at.duration_since(*last) < NOTE_EVERY => false,
            Some(last) => {
                *last = at;
                true
            }
            None => noted.insert(name.to_owned(), at).is_none(),
        }
    }
}

impl Lifecycle {
    /// All that the organization can use, last used first.
    pub async fn snapshots(&self, organization: OrganizationId) -> Result<Vec<Snapshot>, Error> {
        self.sync_snapshots().await?;
        Ok(self.parts.store.snapshots().list(organization).await?)
    }

    /// The one of that id or name.
    pub async fn snapshot(&self, organization: OrganizationId, id_or_name: &str) -> Result<Snapshot, Error> {
        self.resolve_snapshot(organization, Some(id_or_name)).await
    }

    /// The named one or the default. The runner is asked only when the store does not know it.
    pub(crate) async fn resolve_snapshot(
        &self,
        organization: OrganizationId,
        wanted: Option<&str>,
    ) -> Result<Snapshot, Error> {
        let id_or_name = wanted.unwrap_or(&self.parts.config.default_snapshot);
        let snapshots = self.parts.store.snapshots();
        if let Some(found) = snapshots.find(organization, id_or_name).await? {
            return Ok(found);
        }
        self.sync_snapshots().await?;
        let found = snapshots.find(organization, id_or_name).await?;
        let missing = if wanted.is_some() { Error::SnapshotNotFound } else { Error::NoDefaultSnapshot };
        found.ok_or_else(|| missing(id_or_name.to_owned()))
    }

    /// Writes down what the runner holds.
    pub(crate) async fn sync_snapshots(&self) -> Result<(), Error> {
        let held = self.parts.runner.snapshots().await.map_err(Error::from_runner)?;
        Ok(self.parts.store.snapshots().sync(&held).await?)
    }

    /// Writes the use of a snapshot down.
    pub(crate) async fn note_use(&self, name: &str, at: Timestamp) {
        if self.parts.uses.is_due(name, at)
            && let Err(error) = self.parts.store.snapshots().touch(name, at).await
        {
            tracing::warn!(%error, name, "the use of a snapshot could not be noted");
        }
    }
}
