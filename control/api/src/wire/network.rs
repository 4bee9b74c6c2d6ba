//! What a sandbox may reach.

use serde::Deserialize;
use utoipa::ToSchema;

/// A change; what is absent stays as it is.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateSandboxNetworkSettings {
    /// Nothing can be reached; wins over the list.
    pub network_block_all: Option<bool>,
    /// Comma-separated IPv4 ranges, 10 at most; empty is no limit.
    pub network_allow_list: Option<String>,
    pub domain_allow_list: Option<String>,
}
