//! What this runner is made of, and how much of it is free.

use std::fs;

use sebring_runtime::disk;
use sebring_types::RunnerError;
use sebring_types::runner::{Room, RunnerInfo, Storage};

use crate::runner::{Inner, internal};

impl Inner {
    /// Blocks a little.
    pub(crate) fn info(&self) -> Result<RunnerInfo, RunnerError> {
        let host = &self.host;
        let disk = host.disks.room().map_err(internal("free space of the disks"))?;
        let snapshots = host.snapshots.list().map_err(|error| RunnerError::Internal(error.to_string()))?;
        Ok(RunnerInfo {
            name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from).try_into().unwrap_or(u32::MAX),
            memory: memory(&fs::read_to_string("/proc/meminfo").map_err(internal("memory of the host"))?),
            disk: Room { size: disk.size, free: disk.free },
            storage: match host.disks.mode() {
                disk::Mode::Reflink => Storage::Reflink,
                disk::Mode::Copy => Storage::Copy,
                disk::Mode::Directory => Storage::Directory,
            },
            isolation: host.config.isolation,
            cgroups: host.cgroups.versions().map(|(_, version)| version.name()).collect(),
            running: self.all().iter().filter(|sandbox| sandbox.live().is_some()).count(),
            snapshots: snapshots.len(),
            since: self.since,
        })
    }
}

fn memory(meminfo: &str) -> Room {
    Room { size: bytes(meminfo, "MemTotal"), free: bytes(meminfo, "MemAvailable") }
}

/// A line of `/proc/meminfo`, proc_meminfo(5), which counts in KiB; 0 if there is none.
pub(crate) fn bytes(meminfo: &str, name: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_as_the_kernel_tells_it() {
        let meminfo = "MemTotal:       24683656 kB\nMemFree:        1 kB\nMemAvailable:   23000000 kB\n";
        assert_eq!(memory(meminfo), Room { size: 24_683_656 << 10, free: 23_000_000 << 10 });
    }
}
