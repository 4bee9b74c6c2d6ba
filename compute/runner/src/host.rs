//! Everything a runner prepares once, before it serves.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sebring_fault::{Point, point};
use sebring_images::SnapshotStore;
use sebring_network::{Claim, NetworkError, Subnet};
use sebring_runtime::agent_files::AgentFiles;
use sebring_runtime::cgroup::{self, Cgroups};
use sebring_runtime::closer::Closer;
use sebring_runtime::disk::Disks;
use sebring_runtime::profile::Profile;
use sebring_runtime::ward::Ward;
use sebring_runtime::{Context, RuntimeError, link, mounts};
use sebring_types::{Isolation, SnapshotManifest};
use sha2::{Digest, Sha256};

use crate::config::RunnerConfig;
use crate::slots;
use crate::trust::Trust;

/// The host can't run sandboxes as it is. `sebring doctor` tells more.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("another server uses the data directory {0}: stop it first, or choose another with --data-dir")]
    DataDirInUse(PathBuf),
    #[error("sandboxes run with addresses of {present}: stop them before they can have some of {wanted}")]
    AddressesInUse { present: Subnet, wanted: Subnet },
    #[error("can't use {path}: {source}")]
    Path { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Snapshots(#[from] sebring_images::StoreError),
}

impl HostError {
    fn path(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Path { path: path.to_owned(), source }
    }
}

/// A host made ready for one data directory.
#[derive(Debug)]
pub struct Host {
    pub(crate) config: RunnerConfig,
    pub(crate) claim: Claim,
    pub(crate) cgroups: Cgroups,
    /// What all sandboxes see of it, if they need help.
    pub(crate) cgroup_view: Option<PathBuf>,
    pub(crate) disks: Arc<Disks>,
    pub(crate) ward: Arc<Ward>,
    pub(crate) system: Profile,
    pub(crate) strict: Profile,
    pub(crate) closer: Closer,
    pub(crate) snapshots: SnapshotStore,
    pub(crate) trust: Option<Trust>,
    /// With the program that new sandboxes run as pid 1.
    pub(crate) agent_files: AgentFiles,
    _lock: File,
}

impl Host {
    /// Prepares the host; `agent` is the agent's program.
    ///
    /// Moves this thread into a mount namespace of its own, so it must be called before any other thread exists.
    pub fn prepare(mut config: RunnerConfig, agent: &[u8]) -> Result<Self, HostError> {
        make_private_dir(&config.layout.data_dir)?;
        config.layout.data_dir = canonical(&config.layout.data_dir)?;
        let lock = lock(&config)?;
        point(Point::HostLocked);
        for dir in [config.layout.sandboxes(), config.layout.agents()] {
            fs::create_dir_all(&dir).map_err(HostError::path(&dir))?;
        }
        raise_descriptor_limit();
        mounts::enter_private_namespace()?;
        if let Err(error) = cgroup::favor_dynamic_modification() {
            tracing::info!(%error, "cgroups can't be tuned for many starts: each may take some milliseconds longer");
        }
        let mut claim = Claim::take(&config.layout.data_dir, config.network.addresses)?;
        point(Point::HostClaimed);
        let cgroups = Cgroups::open(&cgroup_root(claim))?;
        if let Some(wanted) = config.network.addresses.filter(|wanted| *wanted != claim.subnet) {
            if is_any_running(&cgroups)? {
                return Err(HostError::AddressesInUse { present: claim.subnet, wanted });
            }
            link::remove_gateway(claim.subnet.gateway())?;
            claim = claim.renumber(&config.layout.data_dir, wanted)?;
        }
        let view_dir = config.layout.mount_point("cgroup");
        fs::create_dir_all(&view_dir).map_err(HostError::path(&view_dir))?;
        let cgroup_view = cgroups.mount_view(&view_dir)?.then_some(view_dir);
        let disks = Arc::new(Disks::open(&config.layout.data_dir)?);
        point(Point::HostDisks);
        let mount_point = |name: &str| {
            let dir = config.layout.mount_point(name);
            fs::create_dir_all(&dir).map_err(HostError::path(&dir)).map(|()| dir)
        };
        let ward = Arc::new(Ward::open(&mount_point("anteroom")?, slots::creator_of_the_ward(claim))?);
        let program = install_agent(&config.layout.agents(), agent)?;
        let agent_files = AgentFiles::mount(&mount_point("agent")?, &program)?;
        link::add_gateway(claim.subnet.gateway())?;
        let trust = match &config.ca_bundle {
            Some(bundle) => {
                let in_use = is_any_running(&cgroups)?;
                Some(Trust::open(&config.layout.layers(), bundle, in_use).map_err(HostError::path(bundle))?)
            }
            None => None,
        };
        let snapshots = SnapshotStore::open(&config.layout.snapshot_dir)?;
        for path in snapshots.clean()? {
            tracing::info!(path = %path.display(), "removed what an interrupted change of the snapshots left");
        }
        let host = Self {
            claim,
            cgroups,
            cgroup_view,
            disks,
            ward,
            system: Profile::system(),
            strict: Profile::strict(),
            closer: Closer::start().step("thread that closes descriptors")?,
            snapshots,
            trust,
            agent_files,
            _lock: lock,
            config,
        };
        tracing::info!(
            network = %host.claim.subnet,
            isolation = %host.config.isolation,
            disk = ?host.disks.mode(),
            cgroups = ?host.cgroups.versions().collect::<Vec<_>>(),
            "host prepared"
        );
        point(Point::HostPrepared);
        Ok(host)
    }
}

impl Host {
    pub(crate) fn profile(&self, manifest: &SnapshotManifest) -> &Profile {
        match manifest.isolation.unwrap_or(self.config.isolation) {
            Isolation::System => &self.system,
            Isolation::Strict => &self.strict,
        }
    }
}

/// Whether a sandbox of an earlier server lives.
fn is_any_running(cgroups: &Cgroups) -> Result<bool, RuntimeError> {
    for name in cgroups.list().step("list of cgroups")? {
        if !cgroups.at(&name).processes().step("processes of a cgroup")?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Each running sandbox takes some descriptors, and the usual soft limit is 1,024.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, ?limit, "the limit on descriptors stays: it may end how many sandboxes can run");
    }
}

/// The name of our cgroup in each hierarchy.
pub(crate) fn cgroup_root(claim: Claim) -> String {
    format!("sebring/{}", claim.place)
}

/// Other users of the host have no business in it: images contain set-user-id programs.
fn make_private_dir(dir: &Path) -> Result<(), HostError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(HostError::path(dir))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(HostError::path(dir))
}

pub(crate) fn canonical(path: &Path) -> Result<PathBuf, HostError> {
    path.canonicalize().map_err(HostError::path(path))
}

/// How long a server that was killed may be survived by starts that were half way, which hold its lock to their end.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Makes this process the only one that uses the data directory. The lock goes on to what starts sandboxes, until
/// it has become their first process: whoever has the lock knows that nothing of an earlier server is still at work.
pub(crate) fn lock(config: &RunnerConfig) -> Result<File, HostError> {
    let path = config.layout.lock();
    let file = File::create(&path).map_err(HostError::path(&path))?;
    // The same open file, so the thread locks it for us.
    let waiting = file.try_clone().map_err(HostError::path(&path))?;
    let (report, locked) = mpsc::channel();
    let waiter = thread::spawn(move || {
        // Nobody listens once patience is over.
        let _ = report.send(rustix::fs::flock(&waiting, FlockOperation::LockExclusive));
    });
    match locked.recv_timeout(LOCK_PATIENCE) {
        Ok(Ok(())) => {
            // Namespaces are entered next, which threads would not follow.
            let _ = waiter.join();
            Ok(file)
        }
        Ok(Err(error)) => Err(HostError::path(&path)(error.into())),
        Err(_) => Err(HostError::DataDirInUse(config.layout.data_dir.clone())),
    }
}

/// The agent's file, in the directory of its version.
pub(crate) const AGENT: &str = "sebring-agent";

/// The directory of that version of the agent.
pub(crate) fn agent_name(program: &[u8]) -> String {
    Sha256::digest(program)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Each version of the program stays under its own name, because a sandbox refers to exactly that file. Only root of the
/// host may read it: that is what keeps running agents from root inside (`AgentFiles::mount`).
fn install_agent(agents: &Path, program: &[u8]) -> Result<PathBuf, HostError> {
    let path = agents.join(agent_name(program)).join(AGENT);
    let install = || {
        if path.exists() {
            return fs::set_permissions(&path, fs::Permissions::from_mode(0o711));
        }
        fs::create_dir_all(path.parent().unwrap_or(agents))?;
        let new = path.with_extension("new");
        fs::write(&new, program)?;
        point(Point::AgentWritten);
        fs::set_permissions(&new, fs::Permissions::from_mode(0o711))?;
        fs::rename(&new, &path)
    };
    install().map_err(HostError::path(&path))?;
    Ok(path)
}
