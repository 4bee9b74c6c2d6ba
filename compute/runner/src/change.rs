//! Changes to a sandbox that is there: its sizes, and what it may reach.

use std::net::Ipv4Addr;
use std::sync::Arc;

use sebring_network::{Claim, Confined, Member, NetworkError};
use sebring_runtime::RuntimeError;
use sebring_types::runner::{Egress, SandboxSpec};
use sebring_types::{Resources, RunnerError, SandboxId};

use crate::boot::{cgroup_name, limits, refine};
use crate::runner::{Inner, internal};

/// The network rule of a sandbox that runs in that slot.
pub(crate) fn rule_of(claim: Claim, slot: u16, spec: &SandboxSpec) -> Confined {
    Confined { source: claim.subnet.address(slot), egress: spec.egress.clone() }
}

/// A running sandbox as those linked with it see it.
pub(crate) fn member(address: Ipv4Addr, spec: &SandboxSpec) -> Member {
    Member {
        id: spec.id,
        group: spec.linked_to.unwrap_or(spec.id),
        name: spec.name.clone(),
        hostname: spec.hostname.clone(),
        address,
    }
}

impl Inner {
    pub(crate) async fn resize(self: Arc<Self>, id: SandboxId, resources: Resources) -> Result<(), RunnerError> {
        let sandbox = self.get(id)?;
        let mut record = sandbox.record.lock().await;
        let before = record.spec.resources;
        if resources.disk < before.disk {
            return Err(RunnerError::Invalid("a disk can only grow".into()));
        }
        let limits = limits(resources, self.host.config.max_processes);
        match sandbox.live() {
            Some(_) if resources.disk > before.disk => {
                return Err(RunnerError::Invalid("the disk of a running sandbox can't grow: stop it first".into()));
            }
            Some(live) => {
                let cgroup = self.host.cgroups.at(&cgroup_name(id, live.slot));
                if let Err(error) = cgroup.set(&limits) {
                    // Some of them may be in force.
                    if let Err(left) = cgroup.set(&self::limits(before, self.host.config.max_processes)) {
                        tracing::warn!(sandbox_id = %id, %left, "limits of a refused resize not taken back");
                    }
                    return Err(refuse_smaller(error));
                }
                let view = self.host.config.layout.cgroup_view(id);
                cgroup.write_view(&view, &limits).map_err(internal("view of the limits"))?;
            }
            None if resources.disk > before.disk => {
                let (host, device) = (self.clone(), record.loop_device);
                let grow = move || host.host.disks.grow(&id.to_string(), resources.disk, device);
                tokio::task::spawn_blocking(grow)
                    .await
                    .map_err(|error| RunnerError::Internal(format!("the growth of a disk was interrupted: {error}")))?
                    .map_err(refine)?;
            }
            None => {}
        }
        record.spec.resources = resources;
        self.save(&record)
    }

    pub(crate) async fn set_egress(self: Arc<Self>, id: SandboxId, egress: Egress) -> Result<(), RunnerError> {
        let sandbox = self.get(id)?;
        let mut record = sandbox.record.lock().await;
        let before = std::mem::replace(&mut record.spec.egress, egress);
        let changed = match sandbox.live() {
            Some(live) => {
                let claim = self.host.claim;
                rule_of(claim, live.slot, &record.spec).replace(claim, &before).map_err(network)
            }
            None => Ok(()),
        };
        match changed {
            Ok(()) => self.save(&record),
            Err(error) => {
                record.spec.egress = before;
                Err(error)
            }
        }
    }

    /// Puts the rule of a sandbox that is about to run in force, and links it with others that run.
    pub(crate) fn admit(&self, confined: &Confined, spec: &SandboxSpec) -> Result<(), RunnerError> {
        confined.replace(self.host.claim, &Egress::Open).map_err(network)?;
        self.links.join(member(confined.source, spec)).map_err(|error| {
            self.lift(confined.clone());
            network(error)
        })
    }

    /// Takes rule and links of an ended sandbox out of force, so that its address can be used again.
    pub(crate) fn lift(&self, confined: Confined) {
        if let Err(error) = self.links.leave(confined.source) {
            tracing::error!(%error, "links stay and may let the next sandbox with its address reach others");
        }
        if let Err(error) = confined.lift(self.host.claim) {
            tracing::error!(%error, "a network rule stays and may confine the next sandbox with its address");
        }
    }
}

/// The kernel refuses a memory limit below what is used.
fn refuse_smaller(error: RuntimeError) -> RunnerError {
    if error.errno() == Some(rustix::io::Errno::BUSY.raw_os_error()) {
        return RunnerError::Invalid(
            "the sandbox uses more memory than that: free some in it, or stop it first".into(),
        );
    }
    refine(error)
}

pub(crate) fn network(error: NetworkError) -> RunnerError {
    match error {
        NetworkError::GroupFull => RunnerError::Exhausted(error.to_string()),
        _ => RunnerError::Internal(error.to_string()),
    }
}
