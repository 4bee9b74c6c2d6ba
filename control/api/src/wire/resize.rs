//! A change of size.

use serde::Deserialize;
use utoipa::ToSchema;

/// What is absent stays as it is.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResizeSandbox {
    /// Whole virtual CPUs.
    pub cpu: Option<i64>,
    /// GiB.
    pub memory: Option<i64>,
    /// GiB; only grows, and only while the sandbox is stopped.
    pub disk: Option<i64>,
}
