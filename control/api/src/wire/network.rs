//! What a sandbox may reach.

use sebring_types::Denial;
use sebring_types::denial::{Protocol, Reason};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A change; what is absent stays as it is.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct UpdateSandboxNetworkSettings {
    /// Nothing can be reached; wins over the lists.
    pub network_block_all: Option<bool>,
    /// Comma-separated IPv4 ranges, 10 at most; empty is no limit.
    pub network_allow_list: Option<String>,
    /// Comma-separated names, 100 at most; `*.example.com` is that name and all below it. Empty is no limit.
    pub domain_allow_list: Option<String>,
}

/// What a sandbox was not let reach lately; a route of our own, described in `docs/network.md`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NetworkLog {
    /// The oldest first.
    pub items: Vec<NetworkLogItem>,
}

/// One attempt that was refused.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkLogItem {
    /// RFC 3339.
    pub at: String,
    #[schema(value_type = String)]
    pub protocol: Protocol,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[schema(value_type = String)]
    pub reason: Reason,
    /// Refusals before this one that were too many to be noted.
    pub unnoted: u64,
}

impl NetworkLog {
    pub(crate) fn new(denials: Vec<Denial>) -> Self {
        let item = |denial: Denial| NetworkLogItem {
            at: denial.at.to_string(),
            protocol: denial.protocol,
            name: denial.name,
            address: denial.address.map(|address| address.to_string()),
            port: denial.port,
            reason: denial.reason,
            unnoted: denial.unnoted,
        };
        Self { items: denials.into_iter().map(item).collect() }
    }
}
