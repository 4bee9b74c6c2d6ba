//! The values, and the files they are written to in each version.

use std::io;
use std::path::Path;

use super::detect::{Controller, Hierarchy, Version};
use crate::error::{Context, RuntimeError};

/// The period of the CPU quota, microseconds; the kernel's default.
const CPU_PERIOD: u64 = 100_000;

/// What a sandbox may use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes; there is no swap beside it.
    pub memory: u64,
    /// Thousandths of a CPU.
    pub milli_cpus: u64,
    /// Processes and threads.
    pub pids: u64,
}

impl Limits {
    /// Writes the limits to a directory, in files as cgroup v2 has them: what programs inside look for.
    pub fn write_view(&self, dir: &Path) -> io::Result<()> {
        let quota = self.milli_cpus * CPU_PERIOD / 1000;
        std::fs::create_dir_all(dir)?;
        for (file, content) in [
            ("cgroup.controllers", "cpu memory pids".to_owned()),
            ("cpu.max", format!("{quota} {CPU_PERIOD}")),
            ("memory.max", self.memory.to_string()),
            ("memory.swap.max", "0".to_owned()),
            ("pids.max", self.pids.to_string()),
        ] {
            std::fs::write(dir.join(file), content + "\n")?;
        }
        Ok(())
    }

    pub(super) fn apply(&self, hierarchy: &Hierarchy, dir: &Path) -> Result<(), RuntimeError> {
        hierarchy.controllers.iter().try_for_each(|controller| {
            self.apply_one(*controller, hierarchy.version, dir).step(format!("{} limit", controller.name()))
        })
    }

    fn apply_one(&self, controller: Controller, version: Version, dir: &Path) -> io::Result<()> {
        let quota = self.milli_cpus * CPU_PERIOD / 1000;
        match (controller, version) {
            (Controller::Memory, Version::V1) => self.apply_memory_v1(dir),
            (Controller::Memory, Version::V2) => {
                write(dir, "memory.max", self.memory)?;
                // Absent when the kernel has no swap accounting; then there is nothing to limit.
                optional(write(dir, "memory.swap.max", 0))
            }
            (Controller::Cpu, Version::V1) => write(dir, "cpu.cfs_quota_us", quota),
            (Controller::Cpu, Version::V2) => std::fs::write(dir.join("cpu.max"), format!("{quota} {CPU_PERIOD}")),
            (Controller::Pids, _) => write(dir, "pids.max", self.pids),
        }
    }

    /// Memory plus swap may never be below memory, so the order depends on the direction.
    fn apply_memory_v1(&self, dir: &Path) -> io::Result<()> {
        let both = "memory.memsw.limit_in_bytes";
        if !dir.join(both).exists() {
            return write(dir, "memory.limit_in_bytes", self.memory);
        }
        let current: u64 = std::fs::read_to_string(dir.join(both))?.trim().parse().unwrap_or(u64::MAX);
        if self.memory > current {
            write(dir, both, self.memory)?;
            write(dir, "memory.limit_in_bytes", self.memory)
        } else {
            write(dir, "memory.limit_in_bytes", self.memory)?;
            write(dir, both, self.memory)
        }
    }
}

fn write(dir: &Path, file: &str, value: u64) -> io::Result<()> {
    std::fs::write(dir.join(file), value.to_string())
}

fn optional(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
