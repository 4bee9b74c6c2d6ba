//! Snapshots.

use sebring_store::Snapshot as Record;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Order;
use super::sandbox::CLASS;

/// What sandboxes are created from.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotDto {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<String>,
    /// Whether it is for all organizations.
    pub general: bool,
    pub name: String,
    pub state: &'static str,
    /// GiB.
    #[schema(required = true)]
    pub size: Option<f64>,
    #[schema(required = true)]
    pub entrypoint: Option<Vec<String>>,
    pub cpu: u32,
    pub gpu: u32,
    /// GiB.
    pub mem: u32,
    /// GiB.
    pub disk: u32,
    #[schema(required = true)]
    pub error_reason: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    /// RFC 3339.
    #[schema(required = true)]
    pub last_used_at: Option<String>,
    #[schema(required = true)]
    pub source_sandbox_id: Option<String>,
    pub sandbox_class: &'static str,
}

/// One GiB in bytes.
const GIB: f64 = 1_073_741_824.0;

impl From<Record> for SnapshotDto {
    fn from(record: Record) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a size in GiB for people")]
        let size = record.size as f64 / GIB;
        Self {
            id: record.id.to_string(),
            general: record.organization.is_none(),
            organization_id: record.organization.map(|id| id.to_string()),
            name: record.name,
            state: "active",
            size: Some((size * 1000.0).round() / 1000.0),
            entrypoint: Some(record.entrypoint).filter(|entrypoint| !entrypoint.is_empty()),
            cpu: record.resources.cpu,
            gpu: 0,
            mem: record.resources.memory,
            disk: record.resources.disk,
            error_reason: None,
            created_at: record.created_at.to_string(),
            updated_at: record.updated_at.to_string(),
            last_used_at: record.last_used_at.map(|at| at.to_string()),
            source_sandbox_id: None,
            sandbox_class: CLASS,
        }
    }
}

/// Which page, all optional.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListSnapshotsQuery {
    /// From 1.
    pub page: Option<u32>,
    /// 1 to 200; 100 when absent.
    pub limit: Option<u32>,
    /// A part of the name.
    pub name: Option<String>,
    pub source_sandbox_id: Option<String>,
    /// `lastUsedAt` when absent.
    pub sort: Option<SnapshotSort>,
    /// `desc` when absent.
    pub order: Option<Order>,
}

/// What to order by.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum SnapshotSort {
    Name,
    State,
    LastUsedAt,
    CreatedAt,
}

/// One page.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaginatedSnapshots {
    pub items: Vec<SnapshotDto>,
    pub total: usize,
    /// From 1.
    pub page: usize,
    pub total_pages: usize,
}
