//! The values, and the files they are written to in each version.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use super::detect::{Controller, Hierarchy, Version};
use super::weights;
use crate::error::{Context, RuntimeError};

/// The period of the CPU quota, microseconds; the kernel's default.
const CPU_PERIOD: u64 = 100_000;
/// The least memory of sockets (v1), bytes: the kernel's usual largest window of one connection, a few times.
const LEAST_SOCKETS: u64 = 16 << 20;

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
    /// What `cpu.max` of cgroup v2 says.
    pub(super) fn cpu_max(&self) -> String {
        format!("{} {CPU_PERIOD}", self.quota())
    }

    /// Microseconds in each period.
    fn quota(&self) -> u64 {
        self.milli_cpus * CPU_PERIOD / 1000
    }

    /// Sets the limits of a new group.
    pub(super) fn apply(&self, hierarchy: &Hierarchy, dir: &Path) -> Result<(), RuntimeError> {
        self.each(hierarchy, |controller| match (controller, hierarchy.version) {
            (Controller::Memory, Version::V1) => self.apply_memory_v1(dir),
            (Controller::Memory, Version::V2) => self.apply_memory_v2(dir),
            _ => self.apply_other(controller, hierarchy.version, dir),
        })
    }

    /// Changes the limits of a group that is in use.
    pub(super) fn change(&self, hierarchy: &Hierarchy, dir: &Path) -> Result<(), RuntimeError> {
        self.each(hierarchy, |controller| match (controller, hierarchy.version) {
            (Controller::Memory, Version::V1) => self.apply_memory_v1(dir),
            (Controller::Memory, Version::V2) => self.change_memory_v2(dir),
            _ => self.apply_other(controller, hierarchy.version, dir),
        })
    }

    fn each(&self, hierarchy: &Hierarchy, set: impl Fn(Controller) -> io::Result<()>) -> Result<(), RuntimeError> {
        hierarchy
            .controllers
            .iter()
            .try_for_each(|&controller| set(controller).step(format!("{} limit", controller.name(hierarchy.version))))
    }

    fn apply_other(&self, controller: Controller, version: Version, dir: &Path) -> io::Result<()> {
        match (controller, version) {
            (Controller::Cpu, Version::V1) => write(dir, "cpu.cfs_quota_us", self.quota()),
            (Controller::Cpu, Version::V2) => write(dir, "cpu.max", self.cpu_max()),
            (Controller::Pids, _) => write(dir, "pids.max", self.pids),
            (Controller::Io, _) => weights::apply(self.milli_cpus, version, dir),
            (Controller::Memory, _) => Ok(()),
        }
    }

    fn apply_memory_v1(&self, dir: &Path) -> io::Result<()> {
        self.apply_pages_v1(dir)?;
        // Absent in kernels without version 1's part of networking.
        optional(write(dir, "memory.kmem.tcp.limit_in_bytes", self.sockets()))
    }

    /// Memory plus swap may never be below memory, so the order depends on the direction. The kernel refuses with
    /// `EBUSY` what is below the use.
    fn apply_pages_v1(&self, dir: &Path) -> io::Result<()> {
        let both = "memory.memsw.limit_in_bytes";
        let current = match std::fs::read_to_string(dir.join(both)) {
            Ok(text) => text.trim().parse().unwrap_or(u64::MAX),
            // The kernel doesn't account for swap.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return write(dir, "memory.limit_in_bytes", self.memory);
            }
            Err(error) => return Err(error),
        };
        if self.memory > current {
            write(dir, both, self.memory)?;
            write(dir, "memory.limit_in_bytes", self.memory)
        } else {
            write(dir, "memory.limit_in_bytes", self.memory)?;
            write(dir, both, self.memory)
        }
    }

    /// Bytes that may wait in the sandbox's TCP and UDP sockets. Version 1 counts them apart, and only in groups that have
    /// had such a limit since before the socket was opened; version 2 counts them as memory. A quarter leaves each of a
    /// thousand connections of a 1 GiB sandbox 256 KiB; beyond it TCP goes on with smaller windows and UDP drops.
    fn sockets(&self) -> u64 {
        (self.memory / 4).max(LEAST_SOCKETS)
    }

    fn apply_memory_v2(&self, dir: &Path) -> io::Result<()> {
        write(dir, "memory.max", self.memory)?;
        // Absent when the kernel has no swap accounting; then there is nothing to limit.
        optional(write(dir, "memory.swap.max", 0))
    }

    /// A lower `memory.max` makes the kernel kill until it is met; a lower `memory.high` only makes it reclaim. So that
    /// comes first, and what is still too low is refused as version 1 does.
    fn change_memory_v2(&self, dir: &Path) -> io::Result<()> {
        write(dir, "memory.high", self.memory)?;
        let used: u64 = std::fs::read_to_string(dir.join("memory.current"))?.trim().parse().unwrap_or(0);
        let changed =
            if used > self.memory { Err(io::Error::from_raw_os_error(libc::EBUSY)) } else { self.apply_memory_v2(dir) };
        write(dir, "memory.high", "max")?;
        changed
    }
}

/// Writes to a file of the kernel's; one that it does not have is not found.
pub(super) fn write(dir: &Path, file: &str, value: impl ToString) -> io::Result<()> {
    OpenOptions::new().write(true).open(dir.join(file))?.write_all(value.to_string().as_bytes())
}

pub(super) fn optional(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
