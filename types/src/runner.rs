//! The boundary between the control plane, which decides, and the compute plane, which does.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{Denial, DomainPattern, Isolation, Resources, SandboxId, SnapshotManifest};

/// All a runner must know to make a sandbox, and to start it again later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SandboxSpec {
    pub id: SandboxId,
    /// As its user knows it.
    #[serde(default)]
    pub name: String,
    /// A host name: 1 to 63 of `a-z 0-9 -`.
    pub hostname: String,
    /// The name of a snapshot that the runner holds.
    pub snapshot: String,
    /// The user inside; the snapshot's default user when absent.
    pub user: Option<String>,
    /// Variables of the sandbox.
    pub env: BTreeMap<String, String>,
    pub resources: Resources,
    #[serde(default)]
    pub egress: Egress,
    /// The sandbox it is linked to: the two, and all others that are linked to the same one, reach each other.
    #[serde(default)]
    pub linked_to: Option<SandboxId>,
}

/// Which addresses a sandbox may reach, beside what no sandbox may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Egress {
    /// The internet.
    #[default]
    Open,
    /// These ranges only; names are resolved.
    Only(Vec<Ipv4Net>),
    /// These ranges, and what these names stand for; other names are not resolved.
    Named { domains: Vec<DomainPattern>, ranges: Vec<Ipv4Net> },
    /// Nothing, and no name is resolved.
    Closed,
}

/// How to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// `SIGTERM`, a grace period, `SIGKILL`.
    Graceful,
    /// `SIGKILL` at once.
    Force,
}

/// What a runner holds of one sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// Its agent answers.
    Running,
    /// Only its files are there.
    Stopped,
}

/// A sandbox that a runner found when it started, as it was written down there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub id: SandboxId,
    pub observed: Observed,
    pub resources: Resources,
    pub egress: Egress,
}

/// Something happened that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// All processes of the sandbox ended; its files are kept. `reason` is for the user.
    Exited { id: SandboxId, reason: String, cause: ExitCause },
    /// The kernel killed a process to make room in the sandbox's memory. At most once a second for each sandbox.
    OutOfMemory { id: SandboxId },
}

/// What ended a sandbox that was to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCause {
    /// The kernel, for lack of memory.
    OutOfMemory,
    /// Its own end, or anything else.
    Other,
}

/// What a runner is made of, and how much of it is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerInfo {
    /// The host's name.
    pub name: String,
    pub cpus: u32,
    pub memory: Room,
    /// Where the files of sandboxes are.
    pub disk: Room,
    pub storage: Storage,
    /// Of sandboxes whose snapshot names none.
    pub isolation: Isolation,
    /// Versions of the control groups in use, `v1`, `v2` or both.
    pub cgroups: BTreeSet<&'static str>,
    /// Sandboxes that run now.
    pub running: usize,
    /// Snapshots that it holds.
    pub snapshots: usize,
    /// When it began to serve.
    pub since: Timestamp,
}

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub size: u64,
    pub free: u64,
}

/// How the writable layers of sandboxes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Images that share their blocks until they are written; a sandbox can't write more than its size.
    Reflink,
    /// Images that are copied; a sandbox can't write more than its size.
    Copy,
    /// Directories: nothing keeps a sandbox from filling the disk.
    Directory,
}

impl Storage {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reflink => "reflink",
            Self::Copy => "copy",
            Self::Directory => "directory",
        }
    }
}

/// Why a runner could not do what it was asked. The texts are for users.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// The request can't be met as it is (unknown user, …).
    #[error("{0}")]
    Invalid(String),
    /// The runner holds no such sandbox, or it has the wrong state.
    #[error("sandbox not found on the runner")]
    NotFound,
    /// Out of disk, memory, addresses, uids, …: try again later or free some.
    #[error("{0}")]
    Exhausted(String),
    /// The runner or the kernel failed.
    #[error("{0}")]
    Internal(String),
}

/// A byte stream to a sandbox's agent.
pub trait AgentStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> AgentStream for T {}

/// One machine that runs sandboxes.
///
/// Each call either completes or leaves the sandbox as it was; a call that is dropped half way goes on. Calls for
/// one sandbox must not overlap, except [`Runner::connect`], and [`Runner::destroy`], which wins over all.
#[async_trait]
pub trait Runner: Send + Sync + 'static {
    /// What it is made of, and how much of it is free now.
    async fn info(&self) -> Result<RunnerInfo, RunnerError>;

    /// The snapshots whose files are here.
    async fn snapshots(&self) -> Result<Vec<SnapshotManifest>, RunnerError>;

    /// What was found at start: sandboxes of an earlier process, adopted or cleaned up.
    async fn inventory(&self) -> Vec<Held>;

    /// The id of a sandbox of that kind that was made ahead of need, if there is one: a create with this id takes the least
    /// time. The one who asks must create or destroy it.
    async fn prepared(&self, _snapshot: &str, _resources: Resources) -> Option<SandboxId> {
        None
    }

    /// Makes a sandbox and waits until its agent listens. On an error nothing is left.
    async fn create(&self, spec: SandboxSpec) -> Result<(), RunnerError>;

    /// Starts a stopped sandbox and waits until its agent listens. On an error it stays stopped.
    async fn start(&self, id: SandboxId) -> Result<(), RunnerError>;

    /// Ends every process and keeps the files. Stopping a stopped sandbox succeeds.
    async fn stop(&self, id: SandboxId, mode: StopMode) -> Result<(), RunnerError>;

    /// Ends every process and removes everything. Destroying an unknown sandbox succeeds.
    async fn destroy(&self, id: SandboxId) -> Result<(), RunnerError>;

    /// Changes what a sandbox may use, at once if it runs. The disk only grows, and only while it is stopped.
    async fn resize(&self, id: SandboxId, resources: Resources) -> Result<(), RunnerError>;

    /// Changes what a sandbox may reach, from now on and for each later start. Connections that the new rule forbids end.
    async fn set_egress(&self, id: SandboxId, egress: Egress) -> Result<(), RunnerError>;

    /// What the sandbox was not let reach lately, the oldest first.
    async fn denials(&self, id: SandboxId) -> Result<Vec<Denial>, RunnerError>;

    /// A new connection to the agent of a running sandbox.
    async fn connect(&self, id: SandboxId) -> Result<Box<dyn AgentStream>, RunnerError>;

    /// The next thing that happened on its own. Only one caller may wait.
    async fn observe(&self) -> Option<Observation>;
}
