//! Lists of sandboxes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use sebring_store::Sandbox as Record;
use sebring_types::SandboxState;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::sandbox::{CLASS, NO_BACKUP, allow_list, domain_allow_list};
use crate::public_url::PublicUrl;

/// What to list, all optional.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListSandboxesQuery {
    /// The `nextCursor` of the page before.
    pub cursor: Option<String>,
    /// 1 to 200; 100 when absent.
    #[serde(deserialize_with = "number")]
    pub limit: Option<u32>,
    /// Of no effect: each item has all there is; former clients send it.
    pub verbose: Option<bool>,
    /// The start of the id.
    pub id: Option<String>,
    /// The start of the name.
    pub name: Option<String>,
    /// A JSON object of texts.
    pub labels: Option<String>,
    /// Also those that could not be deleted.
    pub include_errored_deleted: Option<bool>,
    /// Of no effect: those that are kept warm are nobody's yet.
    pub include_warm: Option<bool>,
    #[param(value_type = Vec<String>)]
    pub states: Vec<SandboxState>,
    pub snapshots: Vec<String>,
    pub region_ids: Vec<String>,
    pub sandbox_classes: Vec<String>,
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
    #[serde(deserialize_with = "number")]
    pub min_gpu: Option<u32>,
    #[serde(deserialize_with = "number")]
    pub max_gpu: Option<u32>,
    pub is_public: Option<bool>,
    pub is_recoverable: Option<bool>,
    #[serde(deserialize_with = "instant")]
    #[param(value_type = Option<String>)]
    pub created_at_after: Option<Timestamp>,
    #[serde(deserialize_with = "instant")]
    #[param(value_type = Option<String>)]
    pub created_at_before: Option<Timestamp>,
    #[serde(deserialize_with = "instant")]
    #[param(value_type = Option<String>)]
    pub last_event_after: Option<Timestamp>,
    #[serde(deserialize_with = "instant")]
    #[param(value_type = Option<String>)]
    pub last_event_before: Option<Timestamp>,
    #[serde(deserialize_with = "instant")]
    #[param(value_type = Option<String>)]
    pub auto_destroy_at_after: Option<Timestamp>,
    #[serde(deserialize_with = "instant")]
    #[param(value_type = Option<String>)]
    pub auto_destroy_at_before: Option<Timestamp>,
    /// `createdAt` when absent.
    pub sort: Option<SortField>,
    /// `desc` when absent.
    pub order: Option<Order>,
}

/// What to order by.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SandboxListSortField)]
pub enum SortField {
    Name,
    Cpu,
    #[serde(alias = "memoryGiB")]
    MemoryGib,
    #[serde(alias = "diskGiB")]
    DiskGib,
    LastActivityAt,
    CreatedAt,
}

/// Which end first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SandboxListSortDirection)]
pub enum Order {
    Asc,
    Desc,
}

/// A whole number, which some SDKs print as `1.0`.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let whole = text.strip_suffix(".0").unwrap_or(&text);
    whole.parse().map(Some).map_err(|_| D::Error::custom(format!("{text} is not a whole number")))
}

/// RFC 3339, also with an offset without a colon or with none at all, which is UTC then: SDKs send all of these.
pub(super) fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let civil = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let lenient = || Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", &text).ok();
    let found = text.parse().ok().or_else(lenient).or_else(civil);
    found.map(Some).ok_or_else(|| D::Error::custom(format!("{text} is not a date and time (RFC 3339)")))
}

/// One page.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListSandboxesResponse {
    pub items: Vec<SandboxListItem>,
    /// None at the end.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

/// A sandbox, without what only a look at it alone tells.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SandboxListItem {
    pub id: String,
    pub organization_id: String,
    pub name: String,
    pub target: String,
    pub sandbox_class: &'static str,
    pub state: &'static str,
    pub desired_state: &'static str,
    pub snapshot: String,
    pub user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    pub recoverable: bool,
    pub public: bool,
    pub network_block_all: bool,
    /// Comma-separated IPv4 ranges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_allow_list: Option<String>,
    /// Comma-separated names; `*.example.com` is that name and all below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain_allow_list: Option<String>,
    pub cpu: u32,
    pub gpu: u32,
    pub spot: bool,
    pub memory: u32,
    pub disk: u32,
    pub labels: BTreeMap<String, String>,
    pub backup_state: &'static str,
    pub auto_stop_interval: u32,
    pub auto_pause_interval: u32,
    pub auto_archive_interval: u32,
    pub auto_delete_interval: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_destroy_at: Option<String>,
    pub created_at: String,
    pub updated_at: String,
    pub last_activity_at: String,
    pub toolbox_proxy_url: String,
}

impl SandboxListItem {
    pub(crate) fn new(record: Record, url: &PublicUrl) -> Self {
        Self {
            id: record.id.to_string(),
            organization_id: record.organization.to_string(),
            name: record.name,
            target: record.target,
            sandbox_class: CLASS,
            state: record.state.as_str(),
            desired_state: record.desired_state.as_str(),
            snapshot: record.snapshot,
            user: record.user,
            error_reason: record.error_reason,
            recoverable: record.recoverable,
            public: record.public,
            network_block_all: record.network.block_all,
            network_allow_list: allow_list(&record.network),
            domain_allow_list: domain_allow_list(&record.network),
            cpu: record.resources.cpu,
            gpu: 0,
            spot: false,
            memory: record.resources.memory,
            disk: record.resources.disk,
            labels: record.labels,
            backup_state: NO_BACKUP,
            auto_stop_interval: record.auto_stop_interval,
            auto_pause_interval: 0,
            auto_archive_interval: record.auto_archive_interval,
            auto_delete_interval: record.auto_delete_interval,
            auto_destroy_at: record.auto_destroy_at.map(|at| at.to_string()),
            created_at: record.created_at.to_string(),
            updated_at: record.updated_at.to_string(),
            last_activity_at: record.last_activity_at.to_string(),
            toolbox_proxy_url: url.toolbox(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Timestamp> {
        instant(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text)).ok().flatten()
    }

    #[test]
    fn reads_dates_as_sdks_print_them() {
        let expected: Timestamp = "2026-01-02T03:04:05Z".parse().expect("an instant");
        for text in [
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.000000+0000",
            "2026-01-02T03:04:05.000+00:00",
            "2026-01-02T04:04:05.000000+0100",
            "2026-01-02T03:04:05.000000",
            "2026-01-02T03:04:05",
        ] {
            assert_eq!(read(text), Some(expected), "{text}");
        }
        assert!(read("2026-01-02").is_some());
        assert!(read("yesterday").is_none());
    }
}
