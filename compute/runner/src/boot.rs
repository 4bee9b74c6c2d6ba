//! One start of a sandbox, from its files to an agent that listens, in two steps: all that is the same for each sandbox of
//! its kind can be done ahead of need. Blocking, a few milliseconds, but for the wait for the agent.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sebring_fault::Point;
use sebring_runtime::cgroup::{Cgroup, Limits};
use sebring_runtime::disk::MountedDisk;
use sebring_runtime::launch::{Launch, Launched, Usher};
use sebring_runtime::link::Address;
use sebring_runtime::mounts::{self, Layers};
use sebring_runtime::process::Process;
use sebring_runtime::{Context, RuntimeError, control};
use sebring_types::agent::{AgentConfig, PROTOCOL};
use sebring_types::runner::SandboxSpec;
use sebring_types::{Resources, RunnerError, SandboxId, SnapshotManifest};

use crate::control::Control;
use crate::handshake;
use crate::host::Host;
use crate::runner::remove_cgroup;
use crate::slots::Slot;
use crate::trust::Trust;

const GIB: u64 = 1 << 30;

/// What one start needs.
pub(crate) struct Boot<'a> {
    pub host: &'a Host,
    pub spec: &'a SandboxSpec,
    pub manifest: &'a SnapshotManifest,
    pub slot: Slot,
    pub disk: MountedDisk,
}

/// A sandbox that lacks only what its agent waits for: its configuration.
#[derive(Debug)]
pub(crate) struct Made {
    pub slot: u16,
    pub disk: MountedDisk,
    network: OwnedFd,
    hostname: String,
    address: Address,
    cgroup: Cgroup,
    process: Process,
    control: Control,
    handshake: UnixStream,
    usher: Usher,
}

/// A sandbox whose agent listens.
#[derive(Debug)]
pub(crate) struct Begun {
    pub process: Process,
    pub disk: MountedDisk,
    pub control: Control,
    pub network: OwnedFd,
}

impl Boot<'_> {
    /// Starts the agent. On an error no process of this start is left, and its cgroup goes as soon as the kernel lets it.
    pub fn make(self) -> Result<Made, RunnerError> {
        let mut stages = Stages::begin();
        let name = cgroup_name(self.spec.id, self.slot.number);
        let limits = limits(self.spec.resources, self.host.config.max_processes);
        let cgroup = self.host.cgroups.create(&name, &limits).map_err(refine)?;
        stages.end("cgroup");
        sebring_fault::point(Point::BootCgroup);
        let launched = self.launch(&cgroup, &limits, &mut stages);
        tracing::debug!(sandbox_id = %self.spec.id, %stages, "made");
        // The sandbox's processes hold it now.
        self.host.closer.close(self.slot.namespaces.user);
        match launched {
            Ok((Launched { process, handshake, usher }, control)) => Ok(Made {
                slot: self.slot.number,
                network: self.slot.namespaces.net,
                disk: self.disk,
                hostname: self.spec.hostname.clone(),
                address: self.slot.address,
                cgroup,
                process,
                control,
                handshake,
                usher,
            }),
            Err(error) => {
                tokio::spawn(remove_cgroup(cgroup, self.spec.id));
                Err(error)
            }
        }
    }

    fn launch(
        &self,
        cgroup: &Cgroup,
        limits: &Limits,
        stages: &mut Stages,
    ) -> Result<(Launched, Control), RunnerError> {
        let profile = self.host.profile(self.manifest);
        let ids = self.slot.namespaces.ids;
        let user_namespace = self.slot.namespaces.user.as_fd();
        if profile.nesting() {
            cgroup.give_to(ids.base).map_err(refine)?;
        }
        let mount = control::make(ids).map_err(refine)?;
        let control = Control::open(mount.as_fd()).step("control directory").map_err(refine)?;

        let own_view = self.host.config.layout.cgroup_view(self.spec.id);
        cgroup.write_view(&own_view, limits).step("view of the limits").map_err(refine)?;

        sebring_fault::point(Point::BootControl);
        let layers = self.lower_layers()?;
        let lower: Vec<&Path> = layers.iter().map(PathBuf::as_path).collect();
        mounts::map_ids(self.disk.mount.as_fd(), user_namespace).step("id mapping of the disk").map_err(refine)?;
        let place = self.host.config.layout.sandbox(self.spec.id);
        let layers = Layers { lower: &lower, upper: self.disk.mount.as_fd(), place: &place };
        let overlay = mounts::overlay(layers, ids, user_namespace).map_err(refine)?;
        overlay.layers.into_iter().for_each(|layer| self.host.closer.close(layer));
        stages.end("overlay");
        sebring_fault::point(Point::BootOverlay);

        let launched = Launch {
            hostname: &self.spec.hostname,
            profile,
            ward: &self.host.ward,
            namespaces: &self.slot.namespaces,
            cgroup,
            root: overlay.root.as_fd(),
            devices: &self.slot.devices,
            agent_files: &self.host.agent_files,
            control: mount.as_fd(),
            cgroup_view: self.host.cgroup_view.as_deref().map(|shared| [shared, &own_view]),
            shared_memory: u64::from(self.spec.resources.memory) * GIB / 2,
        }
        .start()
        .map_err(refine)?;
        stages.end("launch");
        sebring_fault::point(Point::BootLaunched);
        Ok((launched, control))
    }

    fn lower_layers(&self) -> Result<Vec<PathBuf>, RunnerError> {
        let rootfs = self.host.snapshots.rootfs(self.manifest.id);
        let mut layers = Vec::with_capacity(2);
        if let Some(trust) = &self.host.trust {
            let layer = trust.layer(self.manifest.id, &rootfs);
            layers.push(layer.step("layer of certificates").map_err(refine)?);
        }
        layers.push(rootfs);
        Ok(layers)
    }
}

impl Made {
    /// Tells the agent who it is, and waits until it listens. Blocks nothing, for how long that takes is up to the sandbox.
    pub async fn introduce(
        &self,
        host: &Host,
        spec: &SandboxSpec,
        manifest: &SnapshotManifest,
    ) -> Result<(), RunnerError> {
        let began = Instant::now();
        let config = self.agent_config(host, spec, manifest);
        let answer = handshake::introduce(&self.handshake, &config, host.config.boot_deadline).await;
        tracing::debug!(sandbox_id = %spec.id, took = ?began.elapsed(), "agent");
        answer
    }

    /// Closes the sandbox to the host, now that its agent has answered. On an error, also that of the answer, nothing of it
    /// is left, as with [`Boot::make`].
    pub fn finish(self, id: SandboxId, answer: Result<(), RunnerError>) -> Result<Begun, RunnerError> {
        match answer.and_then(|()| self.control.close().step("control directory").map_err(refine)) {
            Ok(()) => {
                sebring_fault::point(Point::BootReady);
                drop(self.usher);
                Ok(Begun { process: self.process, disk: self.disk, control: self.control, network: self.network })
            }
            Err(error) => {
                tracing::warn!(sandbox_id = %id, %error, "the agent did not come up");
                // Less than its own limit killed it: that of everything, or the host's memory.
                let starved = self.cgroup.oom_kills() > 0;
                self.end(id);
                if starved {
                    let text = "the runner's memory ran out while the sandbox started: stop or delete sandboxes, or try \
                                again later";
                    return Err(RunnerError::Exhausted(text.into()));
                }
                Err(error)
            }
        }
    }

    /// Ends the agent; what is on disk stays.
    pub fn end(self, id: SandboxId) {
        drop(self.usher);
        let ended = self.process.signal(Signal::KILL).and_then(|()| self.process.wait());
        if let Err(error) = ended {
            tracing::warn!(sandbox_id = %id, %error, "an agent that was not wanted could not be ended");
        }
        tokio::spawn(remove_cgroup(self.cgroup, id));
    }

    /// One that was made ahead of need has been given another name.
    pub fn take_name(&self, hostname: &str) -> Result<(), RunnerError> {
        if hostname == self.hostname {
            return Ok(());
        }
        self.process.set_hostname(hostname).step("host name").map_err(refine)
    }

    fn agent_config(&self, host: &Host, spec: &SandboxSpec, manifest: &SnapshotManifest) -> AgentConfig {
        AgentConfig {
            protocol: PROTOCOL,
            sandbox_id: spec.id.to_string(),
            hostname: spec.hostname.clone(),
            user: spec.user.clone().unwrap_or_else(|| manifest.user.clone()),
            work_dir: manifest.work_dir.clone(),
            env: environment(host, spec, manifest),
            nameserver: Some(self.address.gateway.to_string()),
            address: Some(self.address.sandbox.to_string()),
            entrypoint: manifest.entrypoint.clone(),
            grace_seconds: host.config.grace.as_secs().try_into().unwrap_or(u32::MAX),
        }
    }
}

fn environment(host: &Host, spec: &SandboxSpec, manifest: &SnapshotManifest) -> BTreeMap<String, String> {
    let mut env = manifest.env.clone();
    env.extend(spec.env.clone());
    if host.trust.is_some() {
        Trust::add_variables(&mut env);
    }
    env
}

/// How long each stage of a start took, for the debug log.
struct Stages {
    last: Instant,
    done: Vec<(&'static str, Duration)>,
}

impl Stages {
    fn begin() -> Self {
        Self { last: Instant::now(), done: Vec::with_capacity(4) }
    }

    fn end(&mut self, stage: &'static str) {
        let now = Instant::now();
        self.done.push((stage, now - self.last));
        self.last = now;
    }
}

impl std::fmt::Display for Stages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.done.iter().try_for_each(|(stage, took)| write!(f, "{stage} {} µs ", took.as_micros()))
    }
}

/// Of one start: the number tells it from an earlier one whose removal is still under way.
pub(crate) fn cgroup_name(id: SandboxId, slot: u16) -> String {
    format!("{id}.{slot}")
}

/// The slot that [`cgroup_name`] put into a name.
pub(crate) fn cgroup_slot(name: &str) -> Option<u16> {
    name.rsplit_once('.')?.1.parse().ok()
}

pub(crate) fn limits(resources: Resources, pids: u64) -> Limits {
    Limits { memory: u64::from(resources.memory) * GIB, milli_cpus: u64::from(resources.cpu) * 1000, pids }
}

/// Tells a full host from a broken one.
pub(crate) fn refine(error: RuntimeError) -> RunnerError {
    if error.is_exhaustion() {
        RunnerError::Exhausted(format!("the runner is out of resources ({error}): delete sandboxes or try again later"))
    } else {
        RunnerError::Internal(error.to_string())
    }
}
