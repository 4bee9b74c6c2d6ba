//! What the server tells everyone about itself.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// `GET /config`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DaytonaConfiguration)]
pub struct Configuration {
    pub version: String,
    pub oidc: Oidc,
    pub linked_accounts_enabled: bool,
    /// None, ever.
    #[schema(value_type = BTreeMap<String, Object>)]
    pub announcements: BTreeMap<String, String>,
    /// `{{PORT}}` and `{{sandboxId}}` stand for those of a preview.
    pub proxy_template_url: String,
    pub proxy_toolbox_url: String,
    pub default_snapshot: String,
    pub dashboard_url: String,
    /// Minutes.
    pub max_auto_archive_interval: u32,
    /// Spelt as the contract spells it.
    #[serde(rename = "maintananceMode")]
    pub maintenance_mode: bool,
    pub environment: String,
}

/// The identity provider; there is none, callers have API keys.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OidcConfig)]
pub struct Oidc {
    pub issuer: String,
    pub client_id: String,
    pub audience: String,
    pub provider: String,
}

/// `GET /health`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    pub status: &'static str,
    pub version: String,
}
