//! Settings of a runner, and where its files lie.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sebring_network::NetworkConfig;
use sebring_types::Isolation;

/// How a runner works.
#[derive(Debug, Clone)]
pub struct RunnerConfig {
    pub layout: Layout,
    /// Certificates (PEM) that sandboxes trust beside their image's own.
    pub ca_bundle: Option<PathBuf>,
    /// Of sandboxes whose snapshot does not say.
    pub isolation: Isolation,
    /// Processes and threads of one sandbox.
    pub max_processes: u64,
    /// Sandboxes that may run at once; the place on the host has 4,079.
    pub max_running: usize,
    /// Bytes of the host's memory; while less is available, sandboxes that hold much of the kernel's are ended. None: a part of
    /// all there is.
    pub memory_reserve: Option<u64>,
    /// Between `SIGTERM` and `SIGKILL` when a sandbox is stopped.
    pub grace: Duration,
    /// How long an agent may take to listen.
    pub boot_deadline: Duration,
    pub network: NetworkConfig,
    /// Network namespaces, and disks of the default size, prepared ahead.
    pub prepared: usize,
    pub warm: WarmConfig,
}

/// Whole sandboxes that are made ahead.
#[derive(Debug, Clone)]
pub struct WarmConfig {
    /// The name of their snapshot.
    pub snapshot: String,
    /// How many are kept; each takes about a MiB. None are made while few places for running sandboxes are left.
    pub count: usize,
}

impl RunnerConfig {
    /// The defaults, with everything in one data directory.
    pub fn new(data_dir: &Path) -> Self {
        Self {
            layout: Layout { data_dir: data_dir.to_owned(), snapshot_dir: data_dir.to_owned() },
            ca_bundle: None,
            isolation: Isolation::default(),
            max_processes: 2048,
            max_running: usize::MAX,
            memory_reserve: None,
            grace: Duration::from_secs(10),
            boot_deadline: Duration::from_secs(20),
            network: NetworkConfig::default(),
            prepared: 16,
            warm: WarmConfig { snapshot: String::new(), count: 0 },
        }
    }
}

/// Where files lie.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Absolute.
    pub data_dir: PathBuf,
    /// Holds the folder `snapshots`; several servers may share it.
    pub snapshot_dir: PathBuf,
}

impl Layout {
    pub(crate) fn sandboxes(&self) -> PathBuf {
        self.data_dir.join("sandboxes")
    }

    pub(crate) fn sandbox(&self, id: sebring_types::SandboxId) -> PathBuf {
        self.sandboxes().join(id.to_string())
    }

    /// Directories of deleted sandboxes, to be used again.
    pub(crate) fn blanks(&self) -> PathBuf {
        self.data_dir.join("blanks")
    }

    /// The control directory of a sandbox that an older server started.
    pub(crate) fn control_dir_on_disk(&self, id: sebring_types::SandboxId) -> PathBuf {
        self.sandbox(id).join("ctl")
    }

    /// A sandbox's own part of what it sees at `/sys/fs/cgroup` where cgroup v1 manages some limits.
    pub(crate) fn cgroup_view(&self, id: sebring_types::SandboxId) -> PathBuf {
        self.sandbox(id).join("cgroup")
    }

    pub(crate) fn agents(&self) -> PathBuf {
        self.data_dir.join("agents")
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.data_dir.join("layers")
    }

    /// Mount points of the server's own mount namespace.
    pub(crate) fn mount_point(&self, name: &str) -> PathBuf {
        self.data_dir.join("mounts").join(name)
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.data_dir.join("lock")
    }
}
