//! What an earlier server left: running sandboxes are adopted, half-made ones removed, leftovers swept.

use std::fs;
use std::sync::Arc;

use rustix::process::Signal;
use sebring_runtime::Context;
use sebring_runtime::process::Process;
use sebring_types::SandboxId;

use crate::boot::cgroup_name;
use crate::host::{Host, HostError};
use crate::record::{self, Phase, Record};
use crate::sandbox::{Live, Sandbox};

/// A sandbox that stays, with its agent if that runs.
pub(crate) type Found = (Sandbox, Option<Arc<Live>>);

/// Brings disk, kernel and records into agreement; answers the sandboxes that stay.
pub(crate) fn adopt(host: &Host) -> Result<Vec<Found>, HostError> {
    let mut adopted = Vec::new();
    let mut unreadable = Vec::new();
    for id in record::list(&host.config.layout.sandboxes()).step("list of sandboxes")? {
        let dir = host.config.layout.sandbox(id);
        match Record::read(&dir) {
            Ok(Some(record)) => match settle(host, record)? {
                Some(found) => adopted.push(found),
                None => remove(host, id)?,
            },
            Ok(None) => remove(host, id)?,
            // Never delete what can't be understood.
            Err(error) => {
                tracing::error!(sandbox_id = %id, %error, "record not readable: sandbox left alone");
                unreadable.push(id);
            }
        }
    }
    sweep(host, &adopted, &unreadable)?;
    Ok(adopted)
}

fn settle(host: &Host, mut record: Record) -> Result<Option<Found>, HostError> {
    match record.phase {
        Phase::Creating { .. } | Phase::Destroying => return Ok(None),
        Phase::Running { slot, pid, start_time } => {
            if let Some(process) = Process::find(pid, start_time).step("search for an agent")? {
                tracing::info!(sandbox_id = %record.spec.id, pid, "sandbox adopted");
                return Ok(Some((Sandbox::new(record), Some(Live::new(process, slot)))));
            }
        }
        Phase::Starting { .. } | Phase::Stopped => {}
    }
    if record.phase != Phase::Stopped {
        tracing::info!(sandbox_id = %record.spec.id, "sandbox found stopped");
        record.phase = Phase::Stopped;
        record.write(&host.config.layout.sandbox(record.spec.id)).step("record of a sandbox")?;
    }
    Ok(Some((Sandbox::new(record), None)))
}

fn remove(host: &Host, id: SandboxId) -> Result<(), HostError> {
    tracing::info!(sandbox_id = %id, "half-made or half-removed sandbox removed");
    for name in host.cgroups.list().step("list of cgroups")? {
        if name.starts_with(&id.to_string()) {
            clear_cgroup(host, &name)?;
        }
    }
    host.disks.remove(&id.to_string())?;
    Ok(fs::remove_dir_all(host.config.layout.sandbox(id)).step("removal of a sandbox")?)
}

/// Removes cgroups, with what runs in them, and disks that belong to no sandbox.
fn sweep(host: &Host, adopted: &[Found], unreadable: &[SandboxId]) -> Result<(), HostError> {
    let running: Vec<String> =
        adopted.iter().filter_map(|(sandbox, live)| Some(cgroup_name(sandbox.id, live.as_ref()?.slot))).collect();
    for name in host.cgroups.list().step("list of cgroups")? {
        let left_alone = unreadable.iter().any(|id| name.starts_with(&id.to_string()));
        if !running.contains(&name) && !left_alone {
            tracing::info!(cgroup = name, "leftover cgroup removed");
            clear_cgroup(host, &name)?;
        }
    }
    for name in host.disks.list().step("list of disks")? {
        let Ok(id) = name.parse::<SandboxId>() else { continue };
        if !host.config.layout.sandbox(id).exists() {
            tracing::info!(disk = name, "leftover disk removed");
            host.disks.remove(&name)?;
        }
    }
    Ok(())
}

/// Ends everything in a cgroup and removes it.
pub(crate) fn clear_cgroup(host: &Host, name: &str) -> Result<(), HostError> {
    let cgroup = host.cgroups.at(name);
    for pid in cgroup.processes().step("processes of a cgroup")? {
        // The first is the agent, whose end ends the others; by its descriptor its end can be awaited.
        if let Some(process) = Process::open(pid).step("process of a cgroup")? {
            process.signal(Signal::KILL).and_then(|()| process.wait()).step("end of a process")?;
        }
    }
    if let Err(error) = cgroup.remove() {
        tracing::warn!(cgroup = name, %error, "cgroup not removed");
    }
    Ok(())
}
