//! Disks of the default size, made and mounted ahead of need: that is most of the time a create takes.

use std::sync::Arc;
use std::time::Duration;

use sebring_fault::{Point, point};
use sebring_runtime::RuntimeError;
use sebring_runtime::disk::{Disks, MountedDisk};
use sebring_types::{Resources, SandboxId};
use tokio::sync::mpsc;

/// Begins the names of disks that are nobody's yet.
pub(crate) const PREFIX: &str = "spare-";
/// After a failure: a full disk is not freed in an instant, and nobody tells when it is.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Spare {
    name: String,
    disk: MountedDisk,
}

fn make(disks: &Disks, name: &str, gib: u32) -> Result<MountedDisk, RuntimeError> {
    disks.create(name, gib)?;
    point(Point::SpareCreated);
    let disk = disks.mount_new(name)?;
    point(Point::SpareMounted);
    Ok(disk)
}

/// Hands out mounted disks.
#[derive(Debug)]
pub(crate) struct Spares {
    disks: Arc<Disks>,
    size: u32,
    ready: std::sync::Mutex<mpsc::Receiver<Spare>>,
}

impl Spares {
    /// Starts to make spares on a thread of its own; those of an earlier server must be gone.
    pub fn start(disks: Arc<Disks>, ahead: usize) -> Self {
        let size = Resources::default().disk;
        let (sender, receiver) = mpsc::channel(ahead.max(1));
        let maker = disks.clone();
        let spawned = std::thread::Builder::new().name("disks".into()).spawn(move || {
            let mut pause = FIRST_PAUSE;
            for number in 0u64.. {
                let name = format!("{PREFIX}{number}");
                match make(&maker, &name, size) {
                    Ok(disk) => {
                        pause = FIRST_PAUSE;
                        if sender.blocking_send(Spare { name, disk }).is_err() {
                            return;
                        }
                    }
                    // Creates make their own disk then, and report why they can't.
                    Err(error) => {
                        tracing::warn!(%error, ?pause, "no spare disk could be made");
                        let _ = maker.remove(&name);
                        std::thread::sleep(pause);
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread to make spare disks on");
        }
        Self { disks, size, ready: std::sync::Mutex::new(receiver) }
    }

    /// A new disk for a sandbox, mounted.
    pub fn create(&self, id: SandboxId, gib: u32) -> Result<MountedDisk, RuntimeError> {
        let name = id.to_string();
        if gib == self.size
            && let Some(spare) = self.take()
        {
            match self.disks.rename(&spare.name, &name) {
                Ok(()) => return Ok(spare.disk),
                Err(error) => tracing::warn!(%error, "spare disk not usable"),
            }
        }
        self.disks.create(&name, gib)?;
        let mounted = self.disks.mount_new(&name);
        if mounted.is_err() {
            self.disks.remove(&name)?;
        }
        mounted
    }

    fn take(&self) -> Option<Spare> {
        self.ready.lock().unwrap_or_else(std::sync::PoisonError::into_inner).try_recv().ok()
    }
}
