//! What an earlier server left: running sandboxes are adopted, half-made ones and leftovers removed.

use std::sync::Arc;

use sebring_fault::{Point, point};
use sebring_runtime::{Context, tree};

use crate::change::limit;
use crate::control::Control;
use crate::host::{Host, HostError};
use crate::leftovers::Ground;
use crate::record::Phase;
use crate::sandbox::{Live, Sandbox};
use crate::survey::{Kept, Survey};

/// A sandbox that stays, with its agent if that runs.
pub(crate) type Found = (Sandbox, Option<Arc<Live>>);

/// Brings disk, kernel and records into agreement; answers the sandboxes that stay.
pub(crate) fn adopt(host: &Host) -> Result<Vec<Found>, HostError> {
    let survey = Survey::take(&host.config.layout)?;
    let ground = Ground {
        layout: &host.config.layout,
        claim: Some(host.claim),
        cgroups: Some(&host.cgroups),
        disks: Some(&host.disks),
    };
    for leftover in ground.after_a_crash(&survey)? {
        tracing::info!(kind = %leftover.kind, name = leftover.name, reason = leftover.reason, "removing a leftover");
        // Of what could not be removed the records still speak: the next start tries again.
        if let Err(error) = ground.remove(&leftover) {
            tracing::error!(kind = %leftover.kind, name = leftover.name, %error, "leftover not removed");
        }
    }
    point(Point::AdoptSwept);
    survey.kept.into_iter().map(|kept| settle(host, kept)).collect()
}

fn settle(host: &Host, Kept { mut record, running }: Kept) -> Result<Found, HostError> {
    let id = record.spec.id;
    let live = running.map(|(process, slot)| {
        tracing::info!(sandbox_id = %id, pid = process.pid(), "sandbox adopted");
        // A resize may have been cut off after it was written down.
        if let Err(error) = limit(host, id, slot, record.spec.resources) {
            tracing::warn!(sandbox_id = %id, %error, "the limits of a running sandbox are not as recorded");
        }
        let control = match record.phase {
            Phase::Running { control: Some(identity), .. } => Control::find(&process, identity),
            _ => Control::on_disk(&host.config.layout.control_dir_on_disk(id)),
        };
        let control = control.inspect_err(
            |error| tracing::error!(sandbox_id = %id, %error, "no way to the agent: the sandbox must be started anew"),
        );
        let network = process.network().inspect_err(|error| {
            tracing::warn!(sandbox_id = %id, %error, "the network of a running sandbox may outlive it");
        });
        Live::adopted(process, slot, record.loop_device, control.ok(), network.ok())
    });
    if live.is_none() {
        let old = host.config.layout.control_dir_on_disk(id);
        if let Err(error) = tree::remove(&old) {
            tracing::warn!(sandbox_id = %id, %error, "an old control directory stays");
        }
    }
    if live.is_none() && record.phase != Phase::Stopped {
        tracing::info!(sandbox_id = %id, "sandbox found stopped");
        record.phase = Phase::Stopped;
        record.write(&host.config.layout.sandbox(id)).step("record of a sandbox")?;
    }
    point(Point::AdoptSettled);
    Ok((Sandbox::new(record), live))
}
