//! The snapshots that sandboxes can be created from: those that the runner holds.

use sebring_store::Snapshot;
use sebring_types::OrganizationId;

use crate::{Error, Lifecycle};

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
}
