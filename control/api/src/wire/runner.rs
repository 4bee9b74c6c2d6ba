//! Runners.

use sebring_store::now;
use sebring_types::Resources;
use sebring_types::runner::{Room, RunnerInfo};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::sandbox::CLASS;

/// The id of the runner that is part of the server.
pub const LOCAL: &str = "local";

/// A machine that runs sandboxes.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Runner {
    pub id: &'static str,
    /// The host's name.
    pub name: String,
    pub region: String,
    pub state: &'static str,
    /// CPUs.
    pub cpu: u32,
    /// GiB.
    pub memory: f64,
    /// GiB.
    pub disk: f64,
    pub gpu: u32,
    pub sandbox_class: &'static str,
    pub runner_class: &'static str,
    pub current_memory_usage_percentage: f64,
    pub current_disk_usage_percentage: f64,
    /// CPUs of the sandboxes that run.
    pub current_allocated_cpu: u32,
    /// Of the sandboxes that run.
    #[serde(rename = "currentAllocatedMemoryGiB")]
    pub current_allocated_memory_gib: u32,
    /// Of all sandboxes.
    #[serde(rename = "currentAllocatedDiskGiB")]
    pub current_allocated_disk_gib: u32,
    pub current_snapshot_count: usize,
    pub current_started_sandboxes: usize,
    pub unschedulable: bool,
    /// How it works, `name=value` each: `storage` (`reflink`, `copy`, or `directory`, which enforces no size), `isolation`
    /// (`system`, `strict`), `cgroup` (`v1`, `v2`; both on a host that has both).
    pub tags: Vec<String>,
    /// RFC 3339.
    pub last_checked: String,
    /// RFC 3339: when it began to serve.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    pub version: String,
    pub api_version: String,
    pub app_version: String,
}

impl Runner {
    /// The runner of a server of that version, in that region.
    pub fn new(info: RunnerInfo, promised: Resources, region: &str, version: &str) -> Self {
        let now = now().to_string();
        let mut tags = vec![format!("storage={}", info.storage.as_str()), format!("isolation={}", info.isolation)];
        tags.extend(info.cgroups.iter().map(|version| format!("cgroup={version}")));
        Self {
            id: LOCAL,
            name: info.name,
            region: region.to_owned(),
            state: "ready",
            cpu: info.cpus,
            memory: gib(info.memory.size),
            disk: gib(info.disk.size),
            gpu: 0,
            sandbox_class: CLASS,
            runner_class: CLASS,
            current_memory_usage_percentage: percentage(info.memory),
            current_disk_usage_percentage: percentage(info.disk),
            current_allocated_cpu: promised.cpu,
            current_allocated_memory_gib: promised.memory,
            current_allocated_disk_gib: promised.disk,
            current_snapshot_count: info.snapshots,
            current_started_sandboxes: info.running,
            unschedulable: false,
            tags,
            last_checked: now.clone(),
            created_at: info.since.to_string(),
            updated_at: now,
            version: version.to_owned(),
            api_version: version.to_owned(),
            app_version: version.to_owned(),
        }
    }
}

/// Which runners.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListRunnersQuery {
    /// Those of this region.
    pub region_id: Option<String>,
}

#[expect(clippy::cast_precision_loss, reason = "a size in GiB for people")]
fn gib(bytes: u64) -> f64 {
    (bytes as f64 / f64::from(1 << 30) * 100.0).round() / 100.0
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn percentage(room: Room) -> f64 {
    let used = room.size.saturating_sub(room.free) as f64 / room.size.max(1) as f64;
    (used * 1000.0).round() / 10.0
}
