//! One sandbox.

use std::collections::BTreeMap;

use sebring_store::Sandbox as Record;
use sebring_types::NetworkSettings;
use serde::Serialize;
use utoipa::ToSchema;

use super::SandboxVolume;
use crate::public_url::PublicUrl;

/// A sandbox in full.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sandbox {
    pub id: String,
    pub organization_id: String,
    pub name: String,
    pub snapshot: String,
    pub user: String,
    pub env: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Whether previews need no key.
    pub public: bool,
    pub network_block_all: bool,
    /// Comma-separated IPv4 ranges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_allow_list: Option<String>,
    /// Comma-separated names; `*.example.com` is that name and all below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain_allow_list: Option<String>,
    pub kvm: bool,
    /// The region.
    pub target: String,
    /// Whole virtual CPUs.
    pub cpu: u32,
    pub gpu: u32,
    pub spot: bool,
    /// GiB.
    pub memory: u32,
    /// GiB.
    pub disk: u32,
    pub state: &'static str,
    pub desired_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    pub recoverable: bool,
    pub backup_state: &'static str,
    /// Minutes; 0 is off.
    pub auto_stop_interval: u32,
    /// Minutes; 0 is off.
    pub auto_pause_interval: u32,
    /// Minutes; 0 is the longest.
    pub auto_archive_interval: u32,
    /// Minutes; negative is off, 0 is at once.
    pub auto_delete_interval: i32,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_destroy_at: Option<String>,
    pub volumes: Vec<SandboxVolume>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    /// RFC 3339.
    pub last_activity_at: String,
    pub sandbox_class: &'static str,
    /// The sandbox that it is linked to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linked_sandbox_id: Option<String>,
    /// The toolbox of this sandbox is at this, a slash, its id.
    pub toolbox_proxy_url: String,
}

/// The only class there is yet.
pub(super) const CLASS: &str = "container";
/// Of a sandbox that has no backup.
pub(super) const NO_BACKUP: &str = "None";

/// The list as the API writes it; none when everything may be reached.
pub(super) fn allow_list(network: &NetworkSettings) -> Option<String> {
    let ranges: Vec<String> = network.allow_list.iter().map(ToString::to_string).collect();
    (!ranges.is_empty()).then(|| ranges.join(","))
}

/// The names as the API writes them; none when names are no limit.
pub(super) fn domain_allow_list(network: &NetworkSettings) -> Option<String> {
    let domains: Vec<String> = network.domains.iter().map(ToString::to_string).collect();
    (!domains.is_empty()).then(|| domains.join(","))
}

impl Sandbox {
    pub(crate) fn new(record: Record, url: &PublicUrl) -> Self {
        Self {
            id: record.id.to_string(),
            organization_id: record.organization.to_string(),
            name: record.name,
            snapshot: record.snapshot,
            user: record.user,
            env: record.env,
            labels: record.labels,
            public: record.public,
            network_block_all: record.network.block_all,
            network_allow_list: allow_list(&record.network),
            domain_allow_list: domain_allow_list(&record.network),
            kvm: false,
            target: record.target,
            cpu: record.resources.cpu,
            gpu: 0,
            spot: false,
            memory: record.resources.memory,
            disk: record.resources.disk,
            state: record.state.as_str(),
            desired_state: record.desired_state.as_str(),
            error_reason: record.error_reason,
            recoverable: record.recoverable,
            backup_state: NO_BACKUP,
            auto_stop_interval: record.auto_stop_interval,
            auto_pause_interval: 0,
            auto_archive_interval: record.auto_archive_interval,
            auto_delete_interval: record.auto_delete_interval,
            auto_destroy_at: record.auto_destroy_at.map(|at| at.to_string()),
            volumes: Vec::new(),
            created_at: record.created_at.to_string(),
            updated_at: record.updated_at.to_string(),
            last_activity_at: record.last_activity_at.to_string(),
            sandbox_class: CLASS,
            linked_sandbox_id: record.linked_to.map(|parent| parent.to_string()),
            toolbox_proxy_url: url.toolbox(),
        }
    }
}

/// Where the toolboxes are.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ToolboxProxyUrl {
    pub url: String,
}
