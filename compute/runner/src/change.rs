//! Changes to a sandbox that is there: its sizes, and what it may reach.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use sebring_fault::{Point, point};
use sebring_network::{Claim, Confined, Member, NetworkError};
use sebring_runtime::{Context, RuntimeError};
use sebring_types::runner::{Egress, SandboxSpec};
use sebring_types::{Resources, RunnerError, SandboxId};

use crate::boot::{cgroup_name, limits, refine};
use crate::host::Host;
use crate::runner::Inner;

/// The network rule of a sandbox that runs in that slot.
pub(crate) fn rule_of(claim: Claim, slot: u16, spec: &SandboxSpec) -> Confined {
    Confined { source: claim.subnet.address(slot), sandbox: spec.id, egress: spec.egress.clone() }
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
        let live = sandbox.live();
        if live.is_some() && resources.disk > before.disk {
            return Err(RunnerError::Invalid("the disk of a running sandbox can't grow: stop it first".into()));
        }
        // Written down first: what a crash cuts off, the next server or start completes.
        record.spec.resources = resources;
        self.save(&record)?;
        point(Point::ResizeRecorded);
        let applied = match live {
            Some(live) => limit(&self.host, id, live.slot, resources).map_err(refuse_smaller),
            None if resources.disk > before.disk => {
                let (inner, device) = (self.clone(), record.loop_device);
                self.unpark(&sandbox);
                let grow = move || {
                    // The unmount of one that was stopped a moment ago takes a while.
                    inner.host.closer.settle();
                    point(Point::GrowSettled);
                    inner.host.disks.grow(&id.to_string(), resources.disk, device)
                };
                match tokio::task::spawn_blocking(grow).await {
                    Ok(grown) => grown.map_err(refine),
                    Err(error) => Err(RunnerError::Internal(format!("the growth of a disk was interrupted: {error}"))),
                }
            }
            None => Ok(()),
        };
        if let Err(error) = applied {
            record.spec.resources = before;
            self.save(&record)?;
            // Some of the new limits may be in force.
            if let Some(live) = sandbox.live()
                && let Err(left) = limit(&self.host, id, live.slot, before)
            {
                tracing::warn!(sandbox_id = %id, %left, "limits of a refused resize not taken back");
            }
            return Err(error);
        }
        point(Point::ResizeApplied);
        Ok(())
    }

    pub(crate) async fn set_egress(self: Arc<Self>, id: SandboxId, egress: Egress) -> Result<(), RunnerError> {
        let sandbox = self.get(id)?;
        let mut record = sandbox.record.lock().await;
        let before = std::mem::replace(&mut record.spec.egress, egress);
        let changed = match sandbox.live() {
            Some(live) => self.network.confine(&rule_of(self.host.claim, live.slot, &record.spec)).map_err(network),
            None => Ok(()),
        };
        match changed {
            Ok(()) => {
                point(Point::ConfineReplaced);
                self.save(&record)?;
                point(Point::ConfineRecorded);
                Ok(())
            }
            Err(error) => {
                record.spec.egress = before;
                Err(error)
            }
        }
    }

    /// Puts the rule of a sandbox that is about to run in force, and links it with others that run.
    pub(crate) fn admit(&self, confined: &Confined, spec: &SandboxSpec) -> Result<(), RunnerError> {
        self.network.confine(confined).map_err(network)?;
        point(Point::LinkConfined);
        self.links.join(member(confined.source, spec)).map_err(|error| {
            self.lift(confined.source);
            network(error)
        })
    }

    /// Takes rule and links of an ended sandbox out of force, so that its address can be used again.
    pub(crate) fn lift(&self, address: Ipv4Addr) {
        if let Err(error) = self.links.leave(address) {
            tracing::error!(%error, "links stay and may let the next sandbox with its address reach others");
        }
        point(Point::LinkLeft);
        if let Err(error) = self.network.lift(address) {
            tracing::error!(%error, "a network rule stays and may confine the next sandbox with its address");
        }
    }

    /// Lets others have the slot of an ended sandbox, as soon as the kernel has forgotten its connections and taken its network
    /// apart. `namespace` is that one's, if there is something in it to clear. Needs a Tokio runtime.
    pub(crate) fn vacate(&self, slot: u16, namespace: Option<OwnedFd>) {
        let (interface, vacated) = (self.slots.interface(slot), self.slots.give_back(slot));
        let (departures, network) = (self.departures.clone(), self.network.clone());
        let address = self.host.claim.subnet.address(slot);
        tokio::spawn(async move {
            departures.see_off(namespace, &interface).await;
            // Only now nothing is on its way any more that would be noted anew.
            network.forget(address, vacated);
        });
    }
}

/// Puts the sizes of a running sandbox in force, and shows them inside.
pub(crate) fn limit(host: &Host, id: SandboxId, slot: u16, resources: Resources) -> Result<(), RuntimeError> {
    let limits = limits(resources, host.config.max_processes);
    let cgroup = host.cgroups.at(&cgroup_name(id, slot));
    cgroup.set(&limits)?;
    point(Point::ResizeLimited);
    cgroup.write_view(&host.config.layout.cgroup_view(id), &limits).step("view of the limits")
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
