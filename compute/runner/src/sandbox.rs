//! One sandbox in memory: its record, and its agent while it runs.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use rustix::process::Signal;
use sebring_runtime::cgroup::Cgroup;
use sebring_runtime::disk::MountedDisk;
use sebring_runtime::process::{Exit, Process};
use sebring_types::{RunnerError, SandboxId};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

use crate::boot::Begun;
use crate::control::Control;
use crate::record::Record;

/// Given to an agent beyond its grace period, before it is killed.
const MARGIN: Duration = Duration::from_secs(2);
/// How long the kernel may take to end a killed process; long, if that sits in a disk write.
const KILL_DEADLINE: Duration = Duration::from_secs(30);
/// How long the agent alone is killed before every process of the sandbox is.
const KILL_ALONE: Duration = Duration::from_millis(500);

/// A sandbox that this runner holds.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub id: SandboxId,
    /// Locked by the operation under way.
    pub record: Mutex<Record>,
    live: RwLock<Option<Arc<Live>>>,
    /// The disk of a sandbox that was stopped a moment ago: mounted still, for one that is started again at once.
    parked: SyncMutex<Option<MountedDisk>>,
}

impl Sandbox {
    pub fn new(record: Record) -> Self {
        Self { id: record.spec.id, record: Mutex::new(record), live: RwLock::new(None), parked: SyncMutex::default() }
    }

    /// The running agent.
    pub fn live(&self) -> Option<Arc<Live>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_live(&self, live: Option<Arc<Live>>) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
    }

    /// Keeps a disk mounted.
    pub fn park(&self, disk: MountedDisk) {
        *self.parked.lock().unwrap_or_else(PoisonError::into_inner) = Some(disk);
    }

    /// The disk that was kept mounted, if it still is.
    pub fn unpark(&self) -> Option<MountedDisk> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A running agent.
#[derive(Debug)]
pub(crate) struct Live {
    process: Process,
    pub slot: u16,
    /// Where its disk is attached.
    pub loop_device: Option<u32>,
    /// None: an earlier server started it, and the way to it was not found.
    pub control: Option<Control>,
    /// Its disk, to decide how that ends; an adopted sandbox's ends with its processes.
    disk: SyncMutex<Option<MountedDisk>>,
    /// Its network namespace, to be cleared when all its processes have ended.
    network: SyncMutex<Option<OwnedFd>>,
    /// Somebody asked for its end.
    asked: AtomicBool,
    /// Nothing of the sandbox is to be kept.
    condemned: AtomicBool,
    /// Why it is not to go on.
    expelled: OnceLock<String>,
    exit: watch::Sender<Option<Ended>>,
}

/// An agent has ended; how, if it was our child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended(pub Option<Exit>);

impl Live {
    pub fn new(begun: Begun, slot: u16) -> Arc<Self> {
        let Begun { process, disk, control, network } = begun;
        let live = Self::adopted(process, slot, disk.loop_device, Some(control), Some(network));
        *live.disk.lock().unwrap_or_else(PoisonError::into_inner) = Some(disk);
        live
    }

    /// One that an earlier server started.
    pub fn adopted(
        process: Process,
        slot: u16,
        loop_device: Option<u32>,
        control: Option<Control>,
        network: Option<OwnedFd>,
    ) -> Arc<Self> {
        Arc::new(Self {
            process,
            slot,
            loop_device,
            control,
            disk: SyncMutex::default(),
            network: SyncMutex::new(network),
            asked: AtomicBool::new(false),
            condemned: AtomicBool::new(false),
            expelled: OnceLock::new(),
            exit: watch::Sender::new(None),
        })
    }

    /// Its disk, once.
    pub fn take_disk(&self) -> Option<MountedDisk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Its network namespace, once.
    pub fn take_network(&self) -> Option<OwnedFd> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Of the agent, in our pid namespace.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Waits for the end of the process and reaps it. One task does this for each agent; the others use [`Self::ended`].
    pub async fn watch(&self) -> io::Result<Ended> {
        let ended = Ended(self.process.ended().await?);
        self.exit.send_replace(Some(ended));
        Ok(ended)
    }

    /// Waits until the agent, and with it every process of the sandbox, has ended.
    pub async fn ended(&self) {
        // The sender is part of self, so this can't fail.
        let _ = self.exit.subscribe().wait_for(Option::is_some).await;
    }

    /// Whether it has ended and was reaped.
    pub fn has_ended(&self) -> bool {
        self.exit.borrow().is_some()
    }

    /// Whether its end is no surprise.
    pub fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Whether the sandbox is deleted once this has ended.
    pub fn is_condemned(&self) -> bool {
        self.condemned.load(Ordering::Acquire)
    }

    /// Ends it because of what it does to others. The first reason counts.
    pub fn expel(&self, cgroup: &Cgroup, reason: String) -> Result<(), RunnerError> {
        let _ = self.expelled.set(reason);
        self.signal(Signal::KILL)?;
        cgroup.kill().map_err(|error| RunnerError::Internal(format!("end of its processes: {error}")))?;
        Ok(())
    }

    /// Why it was ended, if it was because of what it did to others.
    pub fn expelled(&self) -> Option<&str> {
        self.expelled.get().map(String::as_str)
    }

    /// Ends all processes: asks first when there is a grace period.
    pub async fn stop(&self, cgroup: &Cgroup, grace: Option<Duration>) -> Result<(), RunnerError> {
        self.asked.store(true, Ordering::Release);
        if let Some(grace) = grace {
            self.signal(Signal::TERM)?;
            if timeout(grace + MARGIN, self.ended()).await.is_ok() {
                return Ok(());
            }
        }
        self.signal(Signal::KILL)?;
        let deadline = Instant::now() + KILL_DEADLINE;
        while timeout(KILL_ALONE, self.ended()).await.is_err() {
            if Instant::now() > deadline {
                let reason = "the kernel does not end the sandbox's processes: does its disk hang?";
                return Err(RunnerError::Internal(reason.into()));
            }
            // The kernel ends the others after the agent. It may wait for one of them, though, that serves a file system.
            if let Err(error) = cgroup.kill() {
                tracing::warn!(%error, "the processes of a sandbox can't be killed");
            }
        }
        Ok(())
    }

    /// Ends all processes for good: what they wrote last need not reach the disk.
    pub async fn end(&self, cgroup: &Cgroup) -> Result<(), RunnerError> {
        self.condemned.store(true, Ordering::Release);
        if let Some(disk) = &*self.disk.lock().unwrap_or_else(PoisonError::into_inner)
            && let Err(error) = disk.abandon()
        {
            tracing::warn!(%error, "a disk is written out before it is deleted");
        }
        self.stop(cgroup, None).await
    }

    fn signal(&self, signal: Signal) -> Result<(), RunnerError> {
        self.process.signal(signal).map_err(|error| RunnerError::Internal(format!("signal to the agent: {error}")))
    }
}
