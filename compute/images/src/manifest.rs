//! `manifest.json`, read and written whole.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use sebring_types::SnapshotManifest;

use crate::error::StoreError;

/// The manifest's name in a snapshot's folder.
pub const FILE_NAME: &str = "manifest.json";

/// Reads the manifest in the folder `dir`.
pub fn read(dir: &Path) -> Result<SnapshotManifest, StoreError> {
    let path = dir.join(FILE_NAME);
    let text = fs::read(&path).map_err(StoreError::io("can't read", &path))?;
    serde_json::from_slice(&text).map_err(|error| StoreError::Manifest { path, reason: error.to_string() })
}

/// Writes the manifest into the folder `dir`: the old one or the new one is there, also after a power cut.
pub fn write(dir: &Path, manifest: &SnapshotManifest) -> Result<(), StoreError> {
    let path = dir.join(FILE_NAME);
    let text = serde_json::to_vec_pretty(manifest)
        .map_err(|error| StoreError::Manifest { path: path.clone(), reason: error.to_string() })?;
    replace_file(&path, &text)
}

/// Gives `path` new content at once, durably.
pub fn replace_file(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let temporary = path.with_added_extension("new");
    let mut file = File::create(&temporary).map_err(StoreError::io("can't write", &temporary))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(StoreError::io("can't write", &temporary))?;
    fs::rename(&temporary, path).map_err(StoreError::io("can't replace", path))?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes the names in a folder durable.
pub fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(StoreError::io("can't sync", dir))
}
