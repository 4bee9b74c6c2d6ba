//! What the records of a data directory say, compared with what runs. The data directory must be locked.

use sebring_runtime::Context;
use sebring_runtime::process::Process;
use sebring_types::{SandboxId, SnapshotId};

use crate::boot::cgroup_name;
use crate::config::Layout;
use crate::host::HostError;
use crate::record::{self, Phase, Record};

/// All sandboxes of a data directory, by what becomes of them.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub kept: Vec<Kept>,
    /// Not worth keeping, and why.
    pub half_made: Vec<(SandboxId, &'static str)>,
    /// Never deleted: what can't be understood may be another version's.
    pub unreadable: Vec<SandboxId>,
}

/// A sandbox that stays.
#[derive(Debug)]
pub(crate) struct Kept {
    pub record: Record,
    /// Its agent and slot, if it runs.
    pub running: Option<(Process, u16)>,
}

impl Survey {
    pub fn take(layout: &Layout) -> Result<Self, HostError> {
        let mut survey = Self::default();
        let dir = layout.sandboxes();
        if !dir.exists() {
            return Ok(survey);
        }
        for id in record::list(&dir).step("list of sandboxes")? {
            match Record::read(&layout.sandbox(id)) {
                Ok(Some(record)) => survey.add(record)?,
                Ok(None) => survey.half_made.push((id, "it has no record: its create was interrupted")),
                Err(error) => {
                    tracing::error!(sandbox_id = %id, %error, "record not readable: sandbox left alone");
                    survey.unreadable.push(id);
                }
            }
        }
        Ok(survey)
    }

    fn add(&mut self, record: Record) -> Result<(), HostError> {
        let running = match record.phase {
            Phase::Creating { .. } => {
                self.half_made.push((record.spec.id, "its create was interrupted"));
                return Ok(());
            }
            Phase::Destroying => {
                self.half_made.push((record.spec.id, "its delete was interrupted"));
                return Ok(());
            }
            Phase::Running { slot, pid, start_time, .. } => {
                Process::find(pid, start_time).step("search for an agent")?.map(|process| (process, slot))
            }
            Phase::Starting { .. } | Phase::Stopped => None,
        };
        self.kept.push(Kept { record, running });
        Ok(())
    }

    /// Whether a cgroup belongs to a sandbox that runs, or to one that nothing is known of.
    pub fn owns_cgroup(&self, name: &str) -> bool {
        self.kept.iter().any(|kept| kept.cgroup().as_deref() == Some(name)) || self.may_own(name)
    }

    /// Whether something called after a sandbox is one's that nothing is known of.
    pub fn may_own(&self, name: &str) -> bool {
        self.unreadable.iter().any(|id| name.starts_with(&id.to_string()))
    }

    /// Whether that sandbox stays, or nothing is known of it.
    pub fn owns(&self, id: SandboxId) -> bool {
        self.unreadable.contains(&id) || self.kept.iter().any(|kept| kept.record.spec.id == id)
    }

    /// Whether a sandbox stands on that snapshot.
    pub fn stands_on(&self, snapshot: SnapshotId) -> bool {
        self.kept.iter().any(|kept| kept.record.snapshot_id == snapshot)
    }

    /// Whether a sandbox has a disk of that size.
    pub fn has_disk_of(&self, gib: u32) -> bool {
        self.kept.iter().any(|kept| kept.record.spec.resources.disk == gib)
    }
}

impl Kept {
    fn cgroup(&self) -> Option<String> {
        self.running.as_ref().map(|(_, slot)| cgroup_name(self.record.spec.id, *slot))
    }
}
