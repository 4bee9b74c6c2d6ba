//! The handshake between the runner and the agent, pid 1 of each sandbox.
//!
//! The agent is executed with descriptor 3, one end of a unix stream socket pair. The runner writes one
//! [`AgentConfig`] as JSON and shuts its side down. The agent sets the sandbox up, binds
//! [`SOCKET_PATH`], writes one [`AgentReply`] as JSON and closes the descriptor: from then on each of its descriptors
//! was opened inside the sandbox, which checkpointing needs. An end of file without a reply means that it died.
//!
//! Afterwards the runner speaks HTTP/1.1 with it on that socket: the toolbox API. `SIGTERM` to pid 1 stops the
//! sandbox: the agent sends `SIGTERM` to every process, waits up to [`AgentConfig::grace_seconds`], then exits.
//!
//! Paths below [`RESERVED_PATH`] are requests of the runner's own, for checkpoints; those of clients are refused on
//! the way. [`PREPARE_PATH`] comes before a checkpoint, [`RESUMED_PATH`] is the first request after a restore.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Raised with each change that an older agent or runner would misread.
pub const PROTOCOL: u32 = 1;
/// The descriptor of the handshake, in the agent.
pub const HANDSHAKE_FD: i32 = 3;
/// Where the agent keeps its control directory open, to its end: whoever starts the runner anew finds the directory by
/// that, whatever root inside has mounted over its path.
pub const CONTROL_FD: i32 = 4;
/// The longest [`AgentReply`], bytes.
pub const REPLY_LIMIT: usize = 4096;
/// The control directory inside the sandbox, a file system of a few KiB that is the sandbox's own.
pub const CONTROL_DIR: &str = "/.sbx/ctl";
/// Where the agent listens, inside the sandbox.
pub const SOCKET_PATH: &str = "/.sbx/ctl/agent.sock";
/// The name of the socket in the control directory.
pub const SOCKET_NAME: &str = "agent.sock";
/// The agent's own file inside the sandbox, a read-only bind mount.
pub const BINARY_PATH: &str = "/.sbx/bin/agent";
/// The first segment of every path that is between the runner and the agent alone.
pub const RESERVED_PATH: &str = ".sbx";
/// `POST`, without a body. The agent closes every other connection, also those that became WebSockets, then answers,
/// then closes this one: at its end no socket of the agent's but the listening one is left. Programs go on, and what
/// followed them comes back with its next request.
pub const PREPARE_PATH: &str = "/.sbx/prepare";
/// `POST` of [`Resumed`].
pub const RESUMED_PATH: &str = "/.sbx/resumed";

/// What the agent must know to set a sandbox up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentConfig {
    /// [`PROTOCOL`] of the runner.
    pub protocol: u32,
    pub sandbox_id: String,
    /// Also written to `/etc/hostname` and `/etc/hosts`.
    pub hostname: String,
    /// The name, or decimal uid, of the user that everything runs as.
    pub user: String,
    /// Absolute; the user's home directory when absent.
    pub work_dir: Option<String>,
    /// Variables of the snapshot, then of the sandbox.
    pub env: BTreeMap<String, String>,
    /// The resolver's address for `/etc/resolv.conf`; none leaves the file alone.
    pub nameserver: Option<String>,
    /// The sandbox's own address, for `/etc/hosts`.
    pub address: Option<String>,
    /// Run as the entrypoint session; may be empty.
    pub entrypoint: Vec<String>,
    /// Between `SIGTERM` and the end when the sandbox is stopped, seconds.
    pub grace_seconds: u32,
}

/// Who a restored sandbox is: what the checkpoint says of it may be another's.
///
/// The host name itself is the runner's to set, in the namespace from outside. The agent has no random state of its
/// own to renew; programs that drew theirs before the checkpoint have the same in every restored copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resumed {
    /// As in [`AgentConfig`], and the next two.
    pub hostname: String,
    pub nameserver: Option<String>,
    pub address: Option<String>,
    /// Variables of later processes, over those that the sandbox has.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// The agent's one answer in the handshake.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AgentReply {
    /// It listens.
    Ready {
        /// [`PROTOCOL`] of the agent.
        protocol: u32,
        version: String,
    },
    /// It ends; `message` is for the user.
    Failed { kind: FailureKind, message: String },
}

/// Why a sandbox could not be set up from inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureKind {
    /// The image has no such user.
    UserNotFound,
    /// The writable layer is full or damaged.
    Storage,
    /// Anything else.
    Internal,
}
