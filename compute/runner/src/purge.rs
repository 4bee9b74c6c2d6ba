//! Removes everything that a data directory stands for.

use std::path::Path;

use sebring_network::{Claim, policy};
use sebring_runtime::cgroup::Cgroups;
use sebring_runtime::process::Process;
use sebring_runtime::{Context, link, tree};

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
    let killed = kill_recorded(&config)?;
    if let Some(claim) = Claim::find(&data_dir) {
        let cgroups = Cgroups::open(&host::cgroup_root(claim))?;
        for name in cgroups.list().step("list of cgroups")? {
            let cgroup = cgroups.at(&name);
            wait(&cgroup.kill().step("end of the processes of a cgroup")?)?;
            cgroup.remove().step("removal of a cgroup")?;
        }
        wait(&killed)?;
        cgroups.remove_root().step("removal of our cgroup")?;
        policy::remove(claim)?;
        link::remove_gateway(claim.subnet.gateway())?;
        claim.release().step("release of the place on the host")?;
    }
    Ok(tree::remove(&data_dir).step("removal of the data directory")?)
}

/// They may end only with those in their cgroups, which serve their file systems.
fn kill_recorded(config: &RunnerConfig) -> Result<Vec<Process>, HostError> {
    let sandboxes = config.layout.sandboxes();
    let mut killed = Vec::new();
    if !sandboxes.exists() {
        return Ok(killed);
    }
    for id in record::list(&sandboxes).step("list of sandboxes")? {
        let Ok(Some(record)) = Record::read(&config.layout.sandbox(id)) else { continue };
        if let Phase::Running { pid, start_time, .. } = record.phase
            && let Some(process) = Process::find(pid, start_time).step("search for an agent")?
        {
            process.signal(rustix::process::Signal::KILL).step("end of a process")?;
            killed.push(process);
        }
    }
    Ok(killed)
}

fn wait(killed: &[Process]) -> Result<(), HostError> {
    Ok(killed.iter().try_for_each(|process| process.wait().map(drop)).step("end of a process")?)
}
