//! An authenticated caller.

use sebring_store::{ApiKey, Grant, Permission};
use sebring_types::{ApiKeyId, OrganizationId};

use crate::Error;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub key: ApiKeyId,
    pub organization: OrganizationId,
    grant: Grant,
}

impl Principal {
    /// Refuses when the key lacks `permission`.
    pub fn require(&self, permission: Permission) -> Result<(), Error> {
        if self.grant.allows(permission) { Ok(()) } else { Err(Error::Forbidden(permission)) }
    }
}

impl From<ApiKey> for Principal {
    fn from(key: ApiKey) -> Self {
        Self { key: key.id, organization: key.organization, grant: key.grant }
    }
}
