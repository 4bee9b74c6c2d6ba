//! Lists of sandboxes by page numbers, as clients older than cursors ask for them.

use jiff::Timestamp;
use sebring_types::SandboxState;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::list_sandboxes::{instant, number};
use super::{Order, Sandbox};

/// What to list, all optional.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PaginatedSandboxesQuery {
    /// From 1.
    #[serde(deserialize_with = "number")]
    pub page: Option<u32>,
    /// 1 to 200; 100 when absent.
    #[serde(deserialize_with = "number")]
    pub limit: Option<u32>,
    /// The start of the id.
    pub id: Option<String>,
    /// The start of the name.
    pub name: Option<String>,
    /// A JSON object of texts.
    pub labels: Option<String>,
    /// Also those that could not be deleted.
    pub include_errored_deleted: Option<bool>,
    #[param(value_type = Vec<String>)]
    pub states: Vec<SandboxState>,
    pub snapshots: Vec<String>,
    pub regions: Vec<String>,
    #[serde(deserialize_with = "number")]
    pub min_cpu: Option<u32>,
    #[serde(deserialize_with = "number")]
    pub max_cpu: Option<u32>,
    #[serde(rename = "minMemoryGiB")]
    #[serde(deserialize_with = "number")]
    pub min_memory: Option<u32>,
    #[serde(rename = "maxMemoryGiB")]
    #[serde(deserialize_with = "number")]
    pub max_memory: Option<u32>,
    #[serde(rename = "minDiskGiB")]
    #[serde(deserialize_with = "number")]
    pub min_disk: Option<u32>,
    #[serde(rename = "maxDiskGiB")]
    #[serde(deserialize_with = "number")]
    pub max_disk: Option<u32>,
    #[serde(deserialize_with = "instant")]
    #[param(value_type = Option<String>)]
    pub last_event_after: Option<Timestamp>,
    #[serde(deserialize_with = "instant")]
    #[param(value_type = Option<String>)]
    pub last_event_before: Option<Timestamp>,
    /// `createdAt` when absent.
    pub sort: Option<PaginatedSort>,
    /// `desc` when absent.
    pub order: Option<Order>,
}

/// What to order by.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum PaginatedSort {
    Id,
    Name,
    State,
    Snapshot,
    Region,
    UpdatedAt,
    CreatedAt,
    LastActivityAt,
}

/// One page.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PaginatedSandboxes_deprecated)]
pub struct PaginatedSandboxes {
    pub items: Vec<Sandbox>,
    pub total: u64,
    /// From 1.
    pub page: u32,
    pub total_pages: u64,
}
