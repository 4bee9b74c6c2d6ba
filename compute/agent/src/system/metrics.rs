//! `GET /system/metrics`: what the sandbox uses of what it has.
//!
//! Limits and usage come from the control group's files that the runtime shows inside, in the names of cgroup v2.
//! Where one is missing, the machine's own figures stand in: a sandbox without a limit has the machine's.

use std::fs;
use std::time::Instant;

use serde::Serialize;

use crate::agent::Agent;
use crate::http::error::Failure;
use crate::shared::Shared;

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = SystemMetrics))]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Whole processors that the limit allows, at least one.
    cpu_count: u64,
    /// Of the limit, since the last call; since the start at the first one.
    cpu_used_pct: f64,
    disk_free: u64,
    disk_total: u64,
    disk_used: u64,
    mem_cache: u64,
    mem_total: u64,
    /// Without the cache, which the kernel gives back.
    mem_used: u64,
    timestamp: String,
    timestamp_unix: i64,
}

/// The last reading, so that each call measures the time since.
#[derive(Debug)]
pub struct CpuMeter(Shared<Reading>);

#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Instant,
    used_seconds: f64,
}

impl Default for CpuMeter {
    fn default() -> Self {
        Self(Shared::new(Reading { at: Instant::now(), used_seconds: 0.0 }))
    }
}

impl CpuMeter {
    fn percent(&self, used_seconds: f64, processors: f64) -> f64 {
        let now = Reading { at: Instant::now(), used_seconds };
        let before = std::mem::replace(&mut *self.0.lock(), now);
        let elapsed = now.at.duration_since(before.at).as_secs_f64();
        let share = (now.used_seconds - before.used_seconds) / (elapsed * processors);
        if share.is_finite() { (share * 100.0).clamp(0.0, 100.0) } else { 0.0 }
    }
}

pub fn read(agent: &Agent) -> Result<Metrics, Failure> {
    let processors = processors();
    let memory = Memory::read();
    let disk = nix::sys::statvfs::statvfs("/").map_err(std::io::Error::from)?;
    let block = disk.fragment_size();
    let now = jiff::Timestamp::now();
    Ok(Metrics {
        cpu_count: (processors.ceil() as u64).max(1),
        cpu_used_pct: agent.cpu_meter.percent(cpu_seconds(), processors),
        disk_free: disk.blocks_available() * block,
        disk_total: disk.blocks() * block,
        disk_used: (disk.blocks() - disk.blocks_free()) * block,
        mem_cache: memory.cache,
        mem_total: memory.total,
        mem_used: memory.used,
        timestamp: now.to_string(),
        timestamp_unix: now.as_second(),
    })
}

fn group_file(name: &str) -> Option<String> {
    fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()
}

/// The processors that the limit amounts to, else those of the machine.
fn processors() -> f64 {
    let machine = std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
    let limit = group_file("cpu.max").and_then(|text| {
        let (quota, period) = text.trim().split_once(' ')?;
        Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
    });
    limit.filter(|limit| limit.is_finite() && *limit > 0.0).map_or(machine, |limit| limit.min(machine))
}

/// Processor time of everything in the sandbox. Without the group's count it is the sum over all processes, and what
/// has ended counts with its parent, in the end with pid 1.
fn cpu_seconds() -> f64 {
    if let Some(microseconds) = group_file("cpu.stat").and_then(|text| field(&text, "usage_usec")) {
        return microseconds as f64 / 1e6;
    }
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()));
    let ticks: u64 = pids.filter_map(|entry| ticks(&fs::read(entry.path().join("stat")).ok()?)).sum();
    // USER_HZ, fixed at 100 in the kernel's interface.
    ticks as f64 / 100.0
}

/// proc_pid_stat(5): utime, stime, cutime and cstime, fields 14 to 17.
fn ticks(stat: &[u8]) -> Option<u64> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
    Some(rest.split_ascii_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum())
}

#[derive(Debug, Clone, Copy)]
struct Memory {
    total: u64,
    used: u64,
    cache: u64,
}

impl Memory {
    fn read() -> Self {
        let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kibibytes = |name| field(&machine, name).unwrap_or(0) * 1024;
        let machine_total = kibibytes("MemTotal:");
        let statistics = group_file("memory.stat").unwrap_or_default();
        match group_file("memory.current").and_then(|text| text.trim().parse::<u64>().ok()) {
            Some(current) => {
                // v2 says `file`, v1 `total_cache`.
                let cache = field(&statistics, "file").or_else(|| field(&statistics, "total_cache")).unwrap_or(0);
                let limit = group_file("memory.max").and_then(|text| text.trim().parse::<u64>().ok());
                Self {
                    total: limit.map_or(machine_total, |limit| limit.min(machine_total)),
                    used: current.saturating_sub(cache),
                    cache,
                }
            }
            None => Self {
                total: machine_total,
                used: machine_total.saturating_sub(kibibytes("MemAvailable:")),
                cache: kibibytes("Cached:"),
            },
        }
    }
}

/// The number after a name at a line's start.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == name).then(|| words.next()?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_ticks() {
        assert_eq!(field("nr 1\nusage_usec 42\n", "usage_usec"), Some(42));
        assert_eq!(field("file_mapped 3\nfile 7\n", "file"), Some(7));
        assert_eq!(ticks(b"1 (a) b) S 0 1 1 0 -1 4 1 2 3 4 10 20 30 40 20 0"), Some(100));
    }
}
