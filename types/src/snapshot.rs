//! What is known of a snapshot whose files are on this machine.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Isolation, Resources, SnapshotId};

/// Stored as `manifest.json` beside the snapshot's root file system; written last, so that its presence means
/// that the files are complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotManifest {
    pub id: SnapshotId,
    /// Unique; 1 to 128 of `a-z A-Z 0-9 . _ : / -`.
    pub name: String,
    /// Of the unpacked files, bytes.
    pub size: u64,
    pub created_at: Timestamp,
    /// Run as the entrypoint session of each sandbox; may be empty.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// Given to each process of each sandbox, below the sandbox's own variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The user that processes run as when the sandbox names none.
    pub user: String,
    /// Absolute; the user's home directory when absent.
    #[serde(default)]
    pub work_dir: Option<String>,
    /// `x86_64` or `aarch64`.
    pub architecture: String,
    #[serde(default)]
    pub resources: Resources,
    /// Of its sandboxes, from their next start; the server's own setting when absent. Only who administers the server
    /// writes this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
}
