//! What a sandbox can be created with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /sandbox`; every field may be absent. Fields that this version can't honour are here so that they can be
/// refused rather than ignored.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateSandbox {
    /// The id when absent.
    pub name: Option<String>,
    /// Id or name; the default snapshot when absent.
    pub snapshot: Option<String>,
    /// The user inside; the snapshot's when absent.
    pub user: Option<String>,
    pub env: Option<BTreeMap<String, String>>,
    pub labels: Option<BTreeMap<String, String>>,
    /// Whether previews need no key.
    pub public: Option<bool>,
    pub network_block_all: Option<bool>,
    pub kvm: Option<bool>,
    pub network_allow_list: Option<String>,
    pub domain_allow_list: Option<String>,
    pub outbound_proxy_url: Option<String>,
    pub otel_endpoint_override: Option<String>,
    /// The region.
    pub target: Option<String>,
    /// `small`, `medium` or `large`: the sizes of `daytona-small` and so on, which former clients ask for by this name.
    pub class: Option<String>,
    /// Whole virtual CPUs.
    #[schema(value_type = Option<u32>)]
    pub cpu: Option<i64>,
    #[schema(value_type = Option<u32>)]
    pub gpu: Option<i64>,
    #[schema(value_type = Option<Vec<String>>)]
    pub gpu_type: Option<GpuPreference>,
    pub spot: Option<bool>,
    /// GiB.
    #[schema(value_type = Option<u32>)]
    pub memory: Option<i64>,
    /// GiB.
    #[schema(value_type = Option<u32>)]
    pub disk: Option<i64>,
    /// Minutes without activity until it is stopped; 0 is off; 15 when absent.
    pub auto_stop_interval: Option<i64>,
    pub auto_pause_interval: Option<i64>,
    /// Minutes; 0 is the longest; 7 days when absent.
    pub auto_archive_interval: Option<i64>,
    /// Minutes stopped until it is deleted; negative is off, 0 is at once; off when absent.
    pub auto_delete_interval: Option<i64>,
    /// Minutes until it ends whatever it does; 0 is off.
    pub ttl_minutes: Option<i64>,
    /// Of no effect: creates do not queue.
    pub queue_timeout: Option<i64>,
    pub volumes: Option<Vec<SandboxVolume>>,
    pub build_info: Option<CreateBuildInfo>,
    /// Id or name of the sandbox to share a network with; then `autoDeleteInterval` must be 0.
    pub linked_sandbox: Option<String>,
    pub secrets: Option<Vec<BTreeMap<String, String>>>,
}

/// One type or several in order of preference.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum GpuPreference {
    One(String),
    Several(Vec<String>),
}

/// A volume in a sandbox.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SandboxVolume {
    pub volume_id: String,
    pub mount_path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
}

/// An image to build first.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateBuildInfo {
    pub dockerfile_content: String,
    pub context_hashes: Option<Vec<String>>,
}
