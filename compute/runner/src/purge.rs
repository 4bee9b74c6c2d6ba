//! Removes everything that a data directory stands for.

use std::fs;
use std::path::Path;

use sebring_network::{Claim, policy};
use sebring_runtime::cgroup::Cgroups;
use sebring_runtime::process::Process;
use sebring_runtime::{Context, link};

use crate::config::RunnerConfig;
use crate::host::{self, HostError};
use crate::record::{self, Phase, Record};

/// Ends all sandboxes and removes their cgroups, the network and all files. The server must not run.
///
/// Mounts, namespaces, interfaces of sandboxes and loop devices go with their last process.
pub fn purge(data_dir: &Path) -> Result<(), HostError> {
    let data_dir = host::canonical(data_dir)?;
    let config = RunnerConfig::new(&data_dir);
    let _lock = host::lock(&config)?;
    kill_recorded(&config)?;
    if let Some(claim) = Claim::find(&data_dir) {
        let cgroups = Cgroups::open(&host::cgroup_root(claim))?;
        for name in cgroups.list().step("list of cgroups")? {
            let cgroup = cgroups.at(&name);
            for pid in cgroup.processes().step("processes of a cgroup")? {
                if let Some(process) = Process::open(pid).step("process of a cgroup")? {
                    end(&process)?;
                }
            }
            cgroup.remove().step("removal of a cgroup")?;
        }
        cgroups.remove_root().step("removal of our cgroup")?;
        policy::remove(claim)?;
        link::remove_gateway(claim.subnet.gateway())?;
        claim.release().step("release of the place on the host")?;
    }
    Ok(fs::remove_dir_all(&data_dir).step("removal of the data directory")?)
}

fn kill_recorded(config: &RunnerConfig) -> Result<(), HostError> {
    let sandboxes = config.layout.sandboxes();
    if !sandboxes.exists() {
        return Ok(());
    }
    for id in record::list(&sandboxes).step("list of sandboxes")? {
        let Ok(Some(record)) = Record::read(&config.layout.sandbox(id)) else { continue };
        if let Phase::Running { pid, start_time, .. } = record.phase
            && let Some(process) = Process::find(pid, start_time).step("search for an agent")?
        {
            end(&process)?;
        }
    }
    Ok(())
}

fn end(process: &Process) -> Result<(), HostError> {
    Ok(process
        .signal(rustix::process::Signal::KILL)
        .and_then(|()| process.wait())
        .map(drop)
        .step("end of a process")?)
}
