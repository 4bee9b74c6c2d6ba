//! API keys. Of the key itself only the digest is written.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sebring_types::{ApiKeyId, OrganizationId};
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;

use crate::sql::{Columns, json};
use crate::{Error, Secret, Store, now};

/// What a key may do beyond reading sandboxes and snapshots of its organization, in the words of the public API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Permission {
    #[serde(rename = "write:registries")]
    WriteRegistries,
    #[serde(rename = "delete:registries")]
    DeleteRegistries,
    #[serde(rename = "write:snapshots")]
    WriteSnapshots,
    #[serde(rename = "delete:snapshots")]
    DeleteSnapshots,
    #[serde(rename = "write:sandboxes")]
    WriteSandboxes,
    #[serde(rename = "delete:sandboxes")]
    DeleteSandboxes,
    #[serde(rename = "read:volumes")]
    ReadVolumes,
    #[serde(rename = "write:volumes")]
    WriteVolumes,
    #[serde(rename = "delete:volumes")]
    DeleteVolumes,
    #[serde(rename = "write:regions")]
    WriteRegions,
    #[serde(rename = "delete:regions")]
    DeleteRegions,
    #[serde(rename = "read:runners")]
    ReadRunners,
    #[serde(rename = "write:runners")]
    WriteRunners,
    #[serde(rename = "delete:runners")]
    DeleteRunners,
    #[serde(rename = "read:audit_logs")]
    ReadAuditLogs,
    #[serde(rename = "manage:api_keys")]
    ManageApiKeys,
    #[serde(rename = "manage:secrets")]
    ManageSecrets,
    #[serde(rename = "read:limits")]
    ReadLimits,
    #[serde(rename = "manage:sso")]
    ManageSso,
    #[serde(rename = "read:billing")]
    ReadBilling,
    #[serde(rename = "manage:billing")]
    ManageBilling,
}

impl Permission {
    /// Every one, in the order of the API's enum.
    pub const ALL: [Self; 21] = [
        Self::WriteRegistries,
        Self::DeleteRegistries,
        Self::WriteSnapshots,
        Self::DeleteSnapshots,
        Self::WriteSandboxes,
        Self::DeleteSandboxes,
        Self::ReadVolumes,
        Self::WriteVolumes,
        Self::DeleteVolumes,
        Self::WriteRegions,
        Self::DeleteRegions,
        Self::ReadRunners,
        Self::WriteRunners,
        Self::DeleteRunners,
        Self::ReadAuditLogs,
        Self::ManageApiKeys,
        Self::ManageSecrets,
        Self::ReadLimits,
        Self::ManageSso,
        Self::ReadBilling,
        Self::ManageBilling,
    ];

    /// The name on the wire.
    pub fn name(self) -> String {
        json(&self).trim_matches('"').to_owned()
    }
}

/// The permissions of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Every one, also those of later versions.
    All,
    Only(BTreeSet<Permission>),
}

impl Grant {
    /// Whether it includes `permission`.
    pub fn allows(&self, permission: Permission) -> bool {
        match self {
            Self::All => true,
            Self::Only(set) => set.contains(&permission),
        }
    }

    /// Those that it includes now.
    pub fn permissions(&self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(|permission| self.allows(*permission))
    }

    fn to_column(&self) -> String {
        match self {
            Self::All => r#"["*"]"#.to_owned(),
            Self::Only(set) => json(set),
        }
    }

    fn from_column(row: &Columns<'_>) -> Result<Self, Error> {
        if row.text("permissions")? == Self::All.to_column() {
            return Ok(Self::All);
        }
        row.json("permissions").map(Self::Only)
    }
}

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub organization: OrganizationId,
    /// Unique in the organization.
    pub name: String,
    pub grant: Grant,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

/// The table of keys.
#[derive(Debug, Clone, Copy)]
pub struct ApiKeys<'s> {
    store: &'s Store,
}

/// The name of the key that [`ApiKeys::ensure_admin`] makes.
pub const ADMIN: &str = "admin";

impl<'s> ApiKeys<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// Makes a key. [`Error::NameTaken`] when the organization has one of that name, or the key is in use.
    pub async fn insert(
        &self,
        organization: OrganizationId,
        name: &str,
        secret: &Secret,
        grant: Grant,
    ) -> Result<ApiKey, Error> {
        let key = ApiKey {
            id: ApiKeyId::generate(),
            organization,
            name: name.to_owned(),
            grant,
            created_at: now(),
            last_used_at: None,
        };
        sqlx::query(
            "INSERT INTO api_keys (id, organization_id, name, digest, permissions, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(key.id.to_string())
        .bind(key.organization.to_string())
        .bind(&key.name)
        .bind(secret.digest())
        .bind(key.grant.to_column())
        .bind(key.created_at.as_millisecond())
        .execute(&self.store.write)
        .await
        .map_err(Error::on_insert)?;
        Ok(key)
    }

    /// Makes sure that the organization has a key with every permission.
    ///
    /// With `given`, that secret is the key [`ADMIN`] from now on, in place of the former. Without, a key is made if
    /// there is none, and its secret returned: the only time that it can be seen.
    pub async fn ensure_admin(
        &self,
        organization: OrganizationId,
        given: Option<&Secret>,
    ) -> Result<Option<Secret>, Error> {
        let existing = sqlx::query("SELECT digest FROM api_keys WHERE organization_id = $1 AND name = $2")
            .bind(organization.to_string())
            .bind(ADMIN)
            .fetch_optional(&self.store.write)
            .await?;
        let digest = existing.map(|row| Columns(&row).text("digest")).transpose()?;
        match (given, digest) {
            (None, Some(_)) => Ok(None),
            (None, None) => {
                let secret = Secret::generate("sbk_");
                self.insert(organization, ADMIN, &secret, Grant::All).await?;
                Ok(Some(secret))
            }
            (Some(secret), Some(digest)) if secret.digest() == digest => Ok(None),
            (Some(secret), _) => {
                self.remove(organization, ADMIN).await?;
                self.insert(organization, ADMIN, secret, Grant::All).await?;
                Ok(None)
            }
        }
    }

    /// The key of that digest.
    pub async fn find(&self, digest: &str) -> Result<Option<ApiKey>, Error> {
        let row = sqlx::query("SELECT * FROM api_keys WHERE digest = $1")
            .bind(digest)
            .fetch_optional(&self.store.read)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// The key of that id.
    pub async fn get(&self, id: ApiKeyId) -> Result<Option<ApiKey>, Error> {
        let row = sqlx::query("SELECT * FROM api_keys WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.store.read)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Notes that the key was used.
    pub async fn used(&self, id: ApiKeyId, at: Timestamp) -> Result<(), Error> {
        sqlx::query("UPDATE api_keys SET last_used_at = $1 WHERE id = $2")
            .bind(at.as_millisecond())
            .bind(id.to_string())
            .execute(&self.store.write)
            .await?;
        Ok(())
    }

    /// Removes the key of that name; whoever caches keys must be told.
    pub async fn remove(&self, organization: OrganizationId, name: &str) -> Result<bool, Error> {
        let done = sqlx::query("DELETE FROM api_keys WHERE organization_id = $1 AND name = $2")
            .bind(organization.to_string())
            .bind(name)
            .execute(&self.store.write)
            .await?;
        Ok(done.rows_affected() > 0)
    }
}

fn read(row: &AnyRow) -> Result<ApiKey, Error> {
    let row = Columns(row);
    Ok(ApiKey {
        id: row.parse("id")?,
        organization: row.parse("organization_id")?,
        name: row.text("name")?,
        grant: Grant::from_column(&row)?,
        created_at: row.instant("created_at")?,
        last_used_at: row.optional_instant("last_used_at")?,
    })
}
