//! Manifests by name, remembered until the folder of snapshots changes.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use sebring_images::SnapshotStore;
use sebring_types::{RunnerError, SnapshotManifest};

/// What is remembered; a snapshot that comes or goes changes the folder's time.
#[derive(Debug, Default)]
pub(crate) struct Manifests(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    folder_time: Option<SystemTime>,
    by_name: HashMap<String, SnapshotManifest>,
}

impl Manifests {
    /// The newest snapshot of that name.
    pub fn find(&self, store: &SnapshotStore, name: &str) -> Result<SnapshotManifest, RunnerError> {
        let folder_time = std::fs::metadata(store.dir()).and_then(|meta| meta.modified()).ok();
        {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if known.folder_time == folder_time
                && let Some(manifest) = known.by_name.get(name)
            {
                return Ok(manifest.clone());
            }
        }
        let found = store.find(name).map_err(|error| RunnerError::Internal(error.to_string()))?;
        let manifest = found.ok_or_else(|| RunnerError::Invalid(format!("the runner has no snapshot {name}")))?;
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.folder_time != folder_time {
            *known = Known { folder_time, by_name: HashMap::new() };
        }
        known.by_name.insert(name.to_owned(), manifest.clone());
        Ok(manifest)
    }
}
