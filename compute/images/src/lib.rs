//! Snapshots on this machine: where their files lie, and how the default one is made.
//!
//! ```text
//! DATA/snapshots/<id>/manifest.json   what is known of it; its presence in a folder named by an id = complete
//! DATA/snapshots/<id>/rootfs/         read-only lower layer of sandboxes; uids and gids 0 to 65535, as inside
//! DATA/snapshots/<id>/recipe          fingerprint of the recipe that the default snapshot was made by
//! DATA/snapshots/.build-<recipe>/     a bootstrap in progress, or interrupted: resumed by the next one
//! DATA/snapshots/.trash-<id>/         removed; emptied at the next start if that was interrupted
//! DATA/snapshots/.bootstrap.lock      locked (flock) while a bootstrap runs
//! DATA/cache/apt, DATA/cache/npm      downloads of the bootstrap; may be deleted at any time
//! DATA/logs/bootstrap.log             all that the last bootstrap's tools printed
//! ```
//!
//! [`SnapshotStore`] is the one reader, writer and deleter of `snapshots/`; [`bootstrap()`] makes the default one.
#![forbid(unsafe_code)]

mod bootstrap;
mod error;
mod failure;
mod manifest;
mod progress;
mod recipe;
mod step;
mod store;
mod tree;

pub use bootstrap::{BootstrapConfig, bootstrap};
pub use error::{BootstrapError, StoreError};
pub use progress::{Console, Phase, Progress};
pub use store::SnapshotStore;

/// The name of the snapshot that sandboxes are made from when they name none.
pub const DEFAULT_SNAPSHOT: &str = "sebring/debian:13";
