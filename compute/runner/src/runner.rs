//! [`LocalRunner`]: sandboxes on this machine.
//!
//! An operation runs in a task of its own, so that it goes on when its caller goes away, and holds the sandbox's record
//! while it runs. `destroy` does not wait politely: it ends the processes first, which makes whatever else is under way
//! fail, and then takes its turn.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sebring_fault::{Point, point};
use sebring_network::{Links, Network};
use sebring_runtime::Context;
use sebring_runtime::cgroup::Cgroup;
use sebring_runtime::disk::MountedDisk;
use sebring_types::runner::{
    AgentStream, Egress, ExitCause, Held, Observation, Observed, RunnerInfo, SandboxSpec, StopMode,
};
use sebring_types::{Denial, Resources, Runner, RunnerError, SandboxId, SnapshotManifest};
use tokio::sync::{Mutex, Semaphore, mpsc};

use crate::adopt;
use crate::boot::{cgroup_name, cgroup_slot, refine};
use crate::change::{member, rule_of};
use crate::departures::Departures;
use crate::host::{Host, HostError};
use crate::manifests::Manifests;
use crate::places::Places;
use crate::record::{Phase, Record};
use crate::reserve;
use crate::sandbox::{Ended, Live, Sandbox};
use crate::settings;
use crate::slots::{self, Slots};
use crate::space;
use crate::spares::Spares;
use crate::starts::blocking;
use crate::warm::{self, Warm};

/// How long the disk of a stopped sandbox stays mounted.
const PARKING: Duration = Duration::from_secs(2);

/// A runner of this machine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LocalRunner(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) host: Host,
    pub(crate) manifests: Manifests,
    pub(crate) slots: Slots,
    pub(crate) spares: Spares,
    pub(crate) places: Places,
    pub(crate) warm: Warm,
    pub(crate) departures: Arc<Departures>,
    /// Which running sandboxes reach each other.
    pub(crate) links: Arc<Links>,
    pub(crate) network: Network,
    /// When it began to serve.
    pub(crate) since: Timestamp,
    sandboxes: RwLock<HashMap<SandboxId, Arc<Sandbox>>>,
    found: Vec<Held>,
    /// Beyond two starts per CPU only the queue grows (measured).
    pub(crate) starts: Semaphore,
    pub(crate) report: mpsc::UnboundedSender<Observation>,
    observations: Mutex<mpsc::UnboundedReceiver<Observation>>,
    /// Wakes the one who watches the room that is left.
    waker: space::Waker,
}

impl LocalRunner {
    /// Adopts what an earlier server left and begins to serve. Needs a Tokio runtime.
    pub async fn start(host: Host) -> Result<Self, HostError> {
        let adopted = adopt::adopt(&host)?;
        let (mut rules, mut members, mut found) = (Vec::new(), Vec::new(), Vec::new());
        for (sandbox, live) in &adopted {
            let spec = sandbox.record.lock().await.spec.clone();
            if let Some(live) = live {
                rules.push(rule_of(host.claim, live.slot, &spec));
                members.push(member(host.claim.subnet.address(live.slot), &spec));
            }
            let observed = if live.is_some() { Observed::Running } else { Observed::Stopped };
            found.push(Held { id: sandbox.id, observed, resources: spec.resources, egress: spec.egress });
        }
        let links = Arc::new(Links::new(host.claim, members));
        let sandboxes = host.config.layout.sandboxes();
        let network = Network::start(host.claim, &host.config.network, &sandboxes, &rules, links.clone()).await?;
        point(Point::PolicyInstalled);
        // After the packet rules, which load what some settings belong to.
        settings::raise();
        // Of every sandbox that may run, also of those whose records can't be read.
        let in_use: Vec<u16> =
            host.cgroups.list().step("list of cgroups")?.iter().filter_map(|name| cgroup_slot(name)).collect();
        let (report, observations) = mpsc::unbounded_channel();
        let (waker, woken) = space::waker();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let inner = Inner {
            manifests: Manifests::default(),
            slots: Slots::start(host.claim, host.ward.clone(), host.config.prepared, &in_use, host.config.max_running),
            spares: Spares::start(host.disks.clone(), host.config.prepared),
            places: Places::open(&host.config.layout).step("directories of deleted sandboxes")?,
            warm: Warm::default(),
            departures: Departures::watch()?,
            links,
            network,
            since: Timestamp::now(),
            sandboxes: RwLock::default(),
            found,
            starts: Semaphore::new(2 * cpus),
            report,
            observations: Mutex::new(observations),
            waker,
            host,
        };
        let runner = Self(Arc::new(inner));
        space::watch(&runner.0, woken);
        reserve::watch(&runner.0);
        warm::keep(&runner.0);
        for (sandbox, live) in adopted {
            let sandbox = Arc::new(sandbox);
            runner.0.write().insert(sandbox.id, sandbox.clone());
            if let Some(live) = live {
                runner.0.clone().attach(&sandbox, live);
            }
        }
        Ok(runner)
    }
}

impl Inner {
    pub(crate) fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<SandboxId, Arc<Sandbox>>> {
        self.sandboxes.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Sandbox>> {
        self.sandboxes.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn get(&self, id: SandboxId) -> Result<Arc<Sandbox>, RunnerError> {
        let sandboxes = self.sandboxes.read().unwrap_or_else(PoisonError::into_inner);
        sandboxes.get(&id).cloned().ok_or(RunnerError::NotFound)
    }

    async fn stop(self: Arc<Self>, id: SandboxId, mode: StopMode) -> Result<(), RunnerError> {
        let sandbox = self.get(id)?;
        if mode == StopMode::Force
            && let Some(live) = sandbox.live()
        {
            // A graceful stop under way ends with it.
            live.stop(&self.cgroup(id, &live), None).await?;
        }
        let mut record = sandbox.record.lock().await;
        let Some(live) = sandbox.live() else { return Ok(()) };
        let grace = (mode == StopMode::Graceful).then_some(self.host.config.grace);
        live.stop(&self.cgroup(id, &live), grace).await?;
        point(Point::StopEnded);
        self.release(&sandbox, &mut record, &live)
    }

    async fn destroy(self: Arc<Self>, id: SandboxId) -> Result<(), RunnerError> {
        if let Some(kept) = self.warm.claim(id) {
            let discarded = self.clone().discard(kept).await;
            self.warm.refill();
            return discarded;
        }
        let sandbox = match self.get(id) {
            Err(RunnerError::NotFound) => return Ok(()),
            other => other?,
        };
        if let Some(live) = sandbox.live() {
            live.end(&self.cgroup(id, &live)).await?;
        }
        let mut record = sandbox.record.lock().await;
        // A start that was under way may have succeeded meanwhile.
        if let Some(live) = sandbox.live() {
            live.end(&self.cgroup(id, &live)).await?;
            self.release(&sandbox, &mut record, &live)?;
        }
        // It was stopped, or has just ended, and may not be written yet.
        let disk = sandbox.unpark();
        if !self.host.config.layout.sandbox(id).exists() {
            return Ok(());
        }
        if record.phase != Phase::Destroying {
            self.save_as(&mut record, Phase::Destroying)?;
        }
        point(Point::DestroyRecorded);
        // A large disk takes its time; in its directory it takes that of its files.
        let files = self.clone();
        blocking("removal of a sandbox", move || {
            if let Some(disk) = disk {
                files.give_up(id, disk);
            }
            files.remove_files(id)
        })
        .await?;
        self.write().remove(&id);
        self.waker.wake();
        Ok(())
    }

    pub(crate) fn cgroup(&self, id: SandboxId, live: &Live) -> Cgroup {
        self.host.cgroups.at(&cgroup_name(id, live.slot))
    }

    /// Makes the agent reachable and watches for its end.
    pub(crate) fn attach(self: Arc<Self>, sandbox: &Arc<Sandbox>, live: Arc<Live>) {
        sandbox.set_live(Some(live.clone()));
        tokio::spawn(self.clone().watch_memory(sandbox.id, live.clone()));
        let sandbox = sandbox.clone();
        tokio::spawn(async move {
            match live.watch().await {
                Ok(ended) => self.ended(&sandbox, &live, ended).await,
                Err(error) => tracing::error!(sandbox_id = %sandbox.id, %error, "the agent can't be watched"),
            }
        });
    }

    /// Cleans up after an agent, and reports an end that nobody asked for.
    async fn ended(&self, sandbox: &Arc<Sandbox>, live: &Live, ended: Ended) {
        let kills = self.cgroup(sandbox.id, live).oom_kills();
        let mut record = sandbox.record.lock().await;
        if let Err(error) = self.release(sandbox, &mut record, live) {
            tracing::error!(sandbox_id = %sandbox.id, %error, "an ended sandbox was not cleaned up");
        }
        if !live.was_asked() {
            let (reason, cause) = match live.expelled() {
                Some(reason) => (reason.to_owned(), ExitCause::OutOfMemory),
                None => describe(ended, kills, record.spec.resources),
            };
            tracing::info!(sandbox_id = %sandbox.id, reason, "sandbox ended on its own");
            // Nobody listens while the server shuts down.
            let _ = self.report.send(Observation::Exited { id: sandbox.id, reason, cause });
        }
    }

    /// Gives back what a running sandbox holds, after its last process has ended. Does nothing if that was done.
    fn release(&self, sandbox: &Arc<Sandbox>, record: &mut Record, live: &Live) -> Result<(), RunnerError> {
        if !sandbox.live().is_some_and(|current| std::ptr::eq(&*current, live)) {
            return Ok(());
        }
        sandbox.set_live(None);
        let cgroup = self.cgroup(sandbox.id, live);
        tokio::spawn(remove_cgroup(cgroup, sandbox.id));
        self.lift(self.host.claim.subnet.address(live.slot));
        point(Point::ReleaseLifted);
        if let Some(disk) = live.take_disk() {
            self.park(sandbox, disk);
            point(Point::DiskParked);
        }
        self.vacate(live.slot, live.take_network());
        self.save_as(record, if live.is_condemned() { Phase::Destroying } else { Phase::Stopped })?;
        point(Point::ReleaseRecorded);
        Ok(())
    }

    /// Unmounts the disk of an ended sandbox a little later, so that a start that follows at once need not mount it again.
    fn park(&self, sandbox: &Arc<Sandbox>, disk: MountedDisk) {
        sandbox.park(disk);
        let (sandbox, closer) = (Arc::downgrade(sandbox), self.host.closer.clone());
        tokio::spawn(async move {
            tokio::time::sleep(PARKING).await;
            if let Some(disk) = sandbox.upgrade().and_then(|sandbox| sandbox.unpark()) {
                closer.close(disk.mount);
                point(Point::DiskClosed);
            }
        });
    }

    /// Unmounts the disk of a stopped sandbox now.
    pub(crate) fn unpark(&self, sandbox: &Sandbox) {
        if let Some(disk) = sandbox.unpark() {
            self.host.closer.close(disk.mount);
        }
    }

    /// Records the phase. One that could not be recorded is Stopped: `destroy` writes no record again that says Destroying.
    fn save_as(&self, record: &mut Record, phase: Phase) -> Result<(), RunnerError> {
        record.phase = phase;
        self.save(record).inspect_err(|_| record.phase = Phase::Stopped)
    }

    pub(crate) fn save(&self, record: &Record) -> Result<(), RunnerError> {
        record.write(&self.host.config.layout.sandbox(record.spec.id)).map_err(internal("record of the sandbox"))
    }

    /// Lets go of the disk of a sandbox that has ended and is being deleted: it need not be written any more.
    pub(crate) fn give_up(&self, id: SandboxId, disk: MountedDisk) {
        let emptied = disk.abandon().and_then(|()| self.host.disks.empty(&id.to_string(), &disk));
        if let Err(error) = emptied {
            tracing::warn!(sandbox_id = %id, %error, "a disk is written out before it is deleted");
        }
        self.host.closer.close(disk.mount);
    }

    pub(crate) fn remove_files(&self, id: SandboxId) -> Result<(), RunnerError> {
        self.host.disks.remove(&id.to_string()).map_err(refine)?;
        point(Point::DestroyDisk);
        self.places.clear(id).map_err(internal("removal of the sandbox"))?;
        point(Point::DestroyFiles);
        Ok(())
    }
}

/// The kernel lets go of a cgroup shortly after its last process was reaped, and says so to nobody on version 1.
pub(crate) async fn remove_cgroup(cgroup: Cgroup, id: SandboxId) {
    let mut pause = Duration::from_millis(1);
    loop {
        match cgroup.remove() {
            Ok(()) => return point(Point::ReleaseCgroup),
            Err(error) if pause > Duration::from_secs(5) => {
                return tracing::warn!(sandbox_id = %id, %error, "cgroup stays until the next start of the server");
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause *= 2;
    }
}

/// The kernel ends by `SIGKILL` what is to make room.
fn describe(ended: Ended, oom_kills: u64, resources: Resources) -> (String, ExitCause) {
    use sebring_runtime::process::Exit;
    const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();
    let reason = match ended.0 {
        None | Some(Exit::Signal(SIGKILL)) if oom_kills > 0 => {
            let gib = resources.memory;
            let reason = format!("the sandbox ran out of memory ({gib} GiB): give it more with resize, or use less");
            return (reason, ExitCause::OutOfMemory);
        }
        Some(Exit::Signal(signal)) => format!("the sandbox was ended by signal {signal}"),
        Some(Exit::Code(code)) => format!("the sandbox's agent ended with code {code}"),
        None => "the sandbox ended".into(),
    };
    (reason, ExitCause::Other)
}

pub(crate) fn internal(what: &'static str) -> impl FnOnce(io::Error) -> RunnerError {
    move |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            RunnerError::Exhausted(format!("the runner's disk is full ({what}): delete sandboxes or add space"))
        }
        _ => RunnerError::Internal(format!("{what}: {error}")),
    }
}

/// Runs an operation to its end, whatever becomes of the one who asked for it.
async fn finish<T: Send + 'static>(
    operation: impl Future<Output = Result<T, RunnerError>> + Send + 'static,
) -> Result<T, RunnerError> {
    tokio::spawn(operation)
        .await
        .unwrap_or_else(|error| Err(RunnerError::Internal(format!("the operation was interrupted: {error}"))))
}

#[async_trait]
impl Runner for LocalRunner {
    async fn info(&self) -> Result<RunnerInfo, RunnerError> {
        let inner = self.0.clone();
        blocking("look at the host", move || inner.info()).await
    }

    async fn snapshots(&self) -> Result<Vec<SnapshotManifest>, RunnerError> {
        self.0.host.snapshots.list().map_err(|error| RunnerError::Internal(error.to_string()))
    }

    async fn inventory(&self) -> Vec<Held> {
        self.0.found.clone()
    }

    async fn prepared(&self, snapshot: &str, resources: Resources) -> Option<SandboxId> {
        let manifest = self.0.manifests.find(&self.0.host.snapshots, snapshot).ok()?;
        self.0.warm.promise(manifest.id, resources)
    }

    async fn create(&self, spec: SandboxSpec) -> Result<(), RunnerError> {
        finish(self.0.clone().create(spec)).await
    }

    async fn start(&self, id: SandboxId) -> Result<(), RunnerError> {
        finish(self.0.clone().start(id)).await
    }

    async fn stop(&self, id: SandboxId, mode: StopMode) -> Result<(), RunnerError> {
        finish(self.0.clone().stop(id, mode)).await
    }

    async fn destroy(&self, id: SandboxId) -> Result<(), RunnerError> {
        finish(self.0.clone().destroy(id)).await
    }

    async fn resize(&self, id: SandboxId, resources: Resources) -> Result<(), RunnerError> {
        finish(self.0.clone().resize(id, resources)).await
    }

    async fn set_egress(&self, id: SandboxId, egress: Egress) -> Result<(), RunnerError> {
        finish(self.0.clone().set_egress(id, egress)).await
    }

    async fn denials(&self, id: SandboxId) -> Result<Vec<Denial>, RunnerError> {
        self.0.get(id)?;
        let runner = self.0.clone();
        tokio::task::spawn_blocking(move || runner.network.denials(id))
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(internal("network log of the sandbox"))
    }

    async fn connect(&self, id: SandboxId) -> Result<Box<dyn AgentStream>, RunnerError> {
        let live = self.0.get(id)?.live().ok_or(RunnerError::NotFound)?;
        let ids = slots::ids(self.0.host.claim, live.slot);
        let control = live.control.as_ref().ok_or_else(|| {
            let reason = "the way to the sandbox's agent was lost when the server was started anew: stop and start it";
            RunnerError::Internal(reason.into())
        })?;
        let stream = control.connect(ids).await.map_err(internal("agent"))?;
        Ok(Box::new(stream))
    }

    async fn observe(&self) -> Option<Observation> {
        self.0.observations.lock().await.recv().await
    }
}
