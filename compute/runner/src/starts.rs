//! How sandboxes come to run: new ones, from those that were made ahead of need where there are such, and stopped ones.

use std::sync::Arc;

use sebring_fault::{Point, point};
use sebring_runtime::disk::MountedDisk;
use sebring_types::runner::SandboxSpec;
use sebring_types::{RunnerError, SandboxId, SnapshotManifest};
use tokio::sync::SemaphorePermit;

use crate::boot::{Boot, Made, refine};
use crate::change::rule_of;
use crate::descriptors;
use crate::record::{Phase, Record};
use crate::runner::{Inner, internal};
use crate::sandbox::{Live, Sandbox};
use crate::slots::Slot;
use crate::space;

/// Which disk a start uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    New,
    Existing,
}

/// What a start begins with.
enum Source {
    Slot(Slot, Disk),
    Made(Made),
}

impl Source {
    fn slot(&self) -> u16 {
        match self {
            Self::Slot(slot, _) => slot.number,
            Self::Made(made) => made.slot,
        }
    }
}

impl Inner {
    pub(crate) async fn create(self: Arc<Self>, spec: SandboxSpec) -> Result<(), RunnerError> {
        let _create = self.warm.create();
        self.clone().create_or_take(spec).await
    }

    async fn create_or_take(self: Arc<Self>, spec: SandboxSpec) -> Result<(), RunnerError> {
        let kept = self.warm.claim(spec.id);
        let found = self.manifests.find(&self.host.snapshots, &spec.snapshot);
        let manifest = match found.and_then(|manifest| self.check_room().map(|()| manifest)) {
            Ok(manifest) => manifest,
            Err(error) => {
                if let Some(kept) = kept {
                    self.discard(kept).await?;
                }
                return Err(error);
            }
        };
        match kept {
            Some(kept) if kept.suits(manifest.id, spec.resources) => {
                let source = Source::Made(kept.made);
                match self.clone().create_from(spec.clone(), manifest.clone(), source, None).await {
                    // Its agent may have been killed while it waited.
                    Err(RunnerError::Internal(error)) => {
                        tracing::warn!(sandbox_id = %spec.id, error, "made ahead, but not to be begun: making it anew");
                    }
                    other => return other,
                }
            }
            Some(kept) => self.clone().discard(kept).await?,
            None => {}
        }
        let permit = self.permit().await?;
        let slot = match self.slots.take().await {
            Err(RunnerError::Exhausted(text)) => match self.warm.spare() {
                Some(kept) => {
                    self.clone().discard(kept).await?;
                    self.slots.take().await?
                }
                None => return Err(RunnerError::Exhausted(text)),
            },
            other => other?,
        };
        self.clone().create_from(spec, manifest, Source::Slot(slot, Disk::New), Some(permit)).await
    }

    async fn create_from(
        self: Arc<Self>,
        spec: SandboxSpec,
        manifest: SnapshotManifest,
        source: Source,
        permit: Option<SemaphorePermit<'_>>,
    ) -> Result<(), RunnerError> {
        let slot = source.slot();
        let sandbox = Arc::new(Sandbox::new(Record::new(spec, manifest.id, slot)));
        let mut record = sandbox.record.lock().await;
        let id = sandbox.id;
        self.write().insert(id, sandbox.clone());
        match self.clone().boot(&mut record, manifest, source, permit).await {
            Ok(live) => {
                self.attach(&sandbox, live);
                Ok(())
            }
            Err(error) => {
                point(Point::CreateFailed);
                self.write().remove(&id);
                self.forget(id, slot);
                Err(error)
            }
        }
    }

    pub(crate) async fn start(self: Arc<Self>, id: SandboxId) -> Result<(), RunnerError> {
        let sandbox = self.get(id)?;
        let mut record = sandbox.record.lock().await;
        match record.phase {
            Phase::Running { .. } => return Ok(()),
            Phase::Stopped => {}
            _ => return Err(RunnerError::NotFound),
        }
        let manifest = self.host.snapshots.get(record.snapshot_id).map_err(|_| {
            let name = &record.spec.snapshot;
            RunnerError::Invalid(format!("the snapshot {name} that the sandbox stands on is no longer on the runner"))
        })?;
        self.check_room()?;
        let permit = self.permit().await?;
        let slot = self.slots.take().await?;
        let number = slot.number;
        record.phase = Phase::Starting { slot: number };
        let source = Source::Slot(slot, Disk::Existing);
        let booted = self.clone().boot(&mut record, manifest, source, Some(permit)).await;
        // The sandbox has it mounted itself now.
        self.unpark(&sandbox);
        match booted {
            Ok(live) => {
                self.clone().attach(&sandbox, live);
                Ok(())
            }
            Err(error) => {
                point(Point::StartFailed);
                record.phase = Phase::Stopped;
                self.save(&record)?;
                self.vacate(number, None);
                Err(error)
            }
        }
    }

    /// Refuses to run one more sandbox while there is still enough left to serve those that run.
    pub(crate) fn check_room(&self) -> Result<(), RunnerError> {
        descriptors::admit()?;
        space::admit(&self.host.disks)
    }

    pub(crate) async fn permit(&self) -> Result<SemaphorePermit<'_>, RunnerError> {
        self.starts.acquire().await.map_err(|_| RunnerError::Internal("the runner is shutting down".into()))
    }

    /// Starts the agent, on threads that may block, and waits for it on none. The permit is for the work of this host; how
    /// long the sandbox takes holds nobody up.
    async fn boot(
        self: Arc<Self>,
        record: &mut Record,
        manifest: SnapshotManifest,
        source: Source,
        permit: Option<SemaphorePermit<'_>>,
    ) -> Result<Arc<Live>, RunnerError> {
        let (inner, draft) = (self.clone(), record.clone());
        let work = move || {
            let made = match source {
                Source::Made(made) => made,
                Source::Slot(slot, disk) => inner.make(&draft, &manifest, slot, disk)?,
            };
            Ok((inner.confine(&draft, made)?, manifest))
        };
        let (made, manifest) = blocking("start of a sandbox", work).await?;
        drop(permit);
        let answer = made.introduce(&self.host, &record.spec, &manifest).await;
        let mut draft = record.clone();
        let work = move || self.settle(&mut draft, made, answer).map(|live| (draft, live));
        let (done, live) = blocking("start of a sandbox", work).await?;
        *record = done;
        Ok(live)
    }

    /// Makes all but what only its user knows, and writes down each step before it is taken.
    pub(crate) fn make(
        &self,
        record: &Record,
        manifest: &SnapshotManifest,
        slot: Slot,
        disk: Disk,
    ) -> Result<Made, RunnerError> {
        if disk == Disk::New {
            self.places.make(record.spec.id).map_err(internal("directory"))?;
            point(Point::BootDirectory);
        }
        self.save(record)?;
        point(Point::BootRecorded);
        let mounted = self.disk(record, disk)?;
        point(Point::BootDisk);
        Boot { host: &self.host, spec: &record.spec, manifest, slot, disk: mounted }.make()
    }

    /// Puts its rule in force and gives it its name, so that its agent can go on.
    fn confine(&self, record: &Record, made: Made) -> Result<Made, RunnerError> {
        let confined = rule_of(self.host.claim, made.slot, &record.spec);
        if let Err(error) = self.admit(&confined, &record.spec) {
            made.end(record.spec.id);
            return Err(error);
        }
        point(Point::BootConfined);
        if let Err(error) = made.take_name(&record.spec.hostname) {
            made.end(record.spec.id);
            self.lift(confined.source);
            return Err(error);
        }
        Ok(made)
    }

    /// Writes down that it runs, if its agent listens.
    fn settle(
        &self,
        draft: &mut Record,
        made: Made,
        answer: Result<(), RunnerError>,
    ) -> Result<Arc<Live>, RunnerError> {
        let slot = made.slot;
        let address = self.host.claim.subnet.address(slot);
        draft.loop_device = made.disk.loop_device;
        let begun = made.finish(draft.spec.id, answer).inspect_err(|_| self.lift(address))?;
        let process = &begun.process;
        let written = begun.control.identity().map_err(internal("control directory")).and_then(|identity| {
            let (pid, start_time) = (process.pid(), process.start_time());
            draft.phase = Phase::Running { slot, pid, start_time, control: Some(identity) };
            self.save(draft)
        });
        if let Err(error) = written {
            // Unwritten it would be taken for a half-made one at the next start, so it must not live.
            let _ = process.signal(rustix::process::Signal::KILL).and_then(|()| process.wait());
            self.lift(address);
            return Err(error);
        }
        point(Point::BootRunning);
        Ok(Live::new(begun, slot))
    }

    fn disk(&self, record: &Record, disk: Disk) -> Result<MountedDisk, RunnerError> {
        let (id, gib) = (record.spec.id, record.spec.resources.disk);
        let mounted = match disk {
            Disk::New => self.spares.create(id, gib),
            Disk::Existing => self.host.disks.mount(&id.to_string(), gib, record.loop_device),
        };
        mounted.map_err(refine)
    }
}

/// Runs work that blocks on a thread for it.
pub(crate) async fn blocking<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> Result<T, RunnerError> + Send + 'static,
) -> Result<T, RunnerError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(RunnerError::Internal(format!("the {what} was interrupted: {error}"))))
}
