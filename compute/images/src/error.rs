//! What can go wrong with snapshots. [`StoreError`] is about the files; [`BootstrapError`] is for the person who runs
//! `sebring snapshot bootstrap`: each text says what to do.

use std::io;
use std::path::{Path, PathBuf};

use sebring_types::SnapshotId;

/// The snapshot directory could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not a manifest: {reason}", path.display())]
    Manifest { path: PathBuf, reason: String },
    #[error("snapshot {0} is not on this machine")]
    NotFound(SnapshotId),
    #[error("{} belongs to uid {uid}, gid {gid}: a snapshot may only use 0 to 65535", path.display())]
    ForeignOwner { path: PathBuf, uid: u32, gid: u32 },
}

impl StoreError {
    /// For `map_err`: an I/O error while doing `action` to `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// The default snapshot could not be made. What was finished is kept for the next attempt.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("making a snapshot needs root: run it as root or with sudo")]
    NotRoot,
    #[error("{tool} is missing: apt-get install {package}")]
    MissingTool { tool: &'static str, package: &'static str },
    #[error("the default snapshot can't be made for {0}: only x86_64 and aarch64")]
    Architecture(&'static str),
    #[error("another bootstrap is at work in {}: wait for it, or end it", .0.display())]
    Busy(PathBuf),
    #[error(
        "the Debian mirror can't be reached ({detail}): check the network, or name another mirror with --mirror URL, \
         then run this again: what was downloaded is kept; log: {}", log.display()
    )]
    Mirror { detail: String, log: PathBuf },
    #[error(
        "this machine has no key that Debian 13 is signed with ({detail}): upgrade the package debian-archive-keyring \
         (Debian 12: 2023.3+deb12u2 or newer), then run this again; log: {}", log.display()
    )]
    Keyring { detail: String, log: PathBuf },
    #[error(
        "the npm registry can't be reached ({detail}): check the network; if it inspects TLS, give its certificate \
         authority with --ca-bundle FILE; or name another registry (https) in the variable npm_config_registry; then \
         run this again: finished phases are kept; log: {}", log.display()
    )]
    Registry { detail: String, log: PathBuf },
    #[error(
        "the network shows a certificate that is not trusted ({detail}): if it inspects TLS, give its authority with \
         --ca-bundle FILE, then run this again: finished phases are kept; log: {}", log.display()
    )]
    Certificate { detail: String, log: PathBuf },
    #[error(
        "the disk that holds {} is full: free some space (3 GB are needed), then run this again", .0.display()
    )]
    DiskFull(PathBuf),
    #[error("{program} failed ({status}): {detail}; log: {}", log.display())]
    Step { program: String, status: String, detail: String, log: PathBuf },
    #[error("can't run {program}: {source}")]
    Spawn { program: String, source: io::Error },
    #[error("can't read the CA bundle {}: {source}", path.display())]
    CaBundle { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}
