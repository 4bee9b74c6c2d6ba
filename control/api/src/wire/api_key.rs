//! API keys, without their secrets.

use sebring_store::ApiKey as Record;
use serde::Serialize;
use utoipa::ToSchema;

/// Only a digest of the key is kept, so nothing of it can be shown.
const MASKED: &str = "********************";

/// One key.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ApiKeyList)]
pub struct ApiKey {
    pub name: String,
    pub value: &'static str,
    /// RFC 3339.
    pub created_at: String,
    pub permissions: Vec<String>,
    /// RFC 3339.
    #[schema(required = true)]
    pub last_used_at: Option<String>,
    /// RFC 3339; keys do not expire yet.
    #[schema(required = true)]
    pub expires_at: Option<String>,
    /// The organization's: there are no users yet.
    pub user_id: String,
    pub organization_id: String,
}

impl From<Record> for ApiKey {
    fn from(record: Record) -> Self {
        Self {
            name: record.name,
            value: MASKED,
            created_at: record.created_at.to_string(),
            permissions: record.grant.permissions().map(sebring_store::Permission::name).collect(),
            last_used_at: record.last_used_at.map(|at| at.to_string()),
            expires_at: None,
            user_id: record.organization.to_string(),
            organization_id: record.organization.to_string(),
        }
    }
}
