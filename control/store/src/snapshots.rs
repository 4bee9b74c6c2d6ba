//! Snapshots: what sandboxes are created from.

use jiff::Timestamp;
use sebring_types::{OrganizationId, Resources, SnapshotId, SnapshotManifest};
use sqlx::any::AnyRow;

use crate::sql::{Columns, json};
use crate::{Error, Store, now};

/// A snapshot whose files a runner holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub id: SnapshotId,
    /// None: for all organizations.
    pub organization: Option<OrganizationId>,
    pub name: String,
    /// Of the unpacked files, bytes.
    pub size: u64,
    pub entrypoint: Vec<String>,
    /// The user inside when a sandbox names none.
    pub user: String,
    pub resources: Resources,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

fn newest(held: &[SnapshotManifest]) -> Vec<&SnapshotManifest> {
    let beaten = |one: &SnapshotManifest| {
        held.iter().any(|other| other.name == one.name && (other.created_at, other.id) > (one.created_at, one.id))
    };
    held.iter().filter(|one| !beaten(one)).collect()
}

/// The table of snapshots.
#[derive(Debug, Clone, Copy)]
pub struct Snapshots<'s> {
    store: &'s Store,
}

impl<'s> Snapshots<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// Makes the snapshots for all organizations those that the runner holds; of one name, the newest.
    pub async fn sync(&self, held: &[SnapshotManifest]) -> Result<(), Error> {
        let held = newest(held);
        let mut transaction = self.store.write.begin().await?;
        let known =
            sqlx::query("SELECT * FROM snapshots WHERE organization_id IS NULL").fetch_all(&mut *transaction).await?;
        let known = known.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        for gone in known.iter().filter(|snapshot| !held.iter().any(|manifest| manifest.id == snapshot.id)) {
            sqlx::query("DELETE FROM snapshots WHERE id = $1")
                .bind(gone.id.to_string())
                .execute(&mut *transaction)
                .await?;
        }
        for manifest in held.iter().filter(|manifest| !known.iter().any(|snapshot| snapshot.id == manifest.id)) {
            sqlx::query(
                "INSERT INTO snapshots (id, name, size_bytes, entrypoint, user_name, cpu, memory_gib, disk_gib, \
                 created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
            )
            .bind(manifest.id.to_string())
            .bind(&manifest.name)
            .bind(i64::try_from(manifest.size).unwrap_or(i64::MAX))
            .bind(json(&manifest.entrypoint))
            .bind(&manifest.user)
            .bind(i64::from(manifest.resources.cpu))
            .bind(i64::from(manifest.resources.memory))
            .bind(i64::from(manifest.resources.disk))
            .bind(manifest.created_at.as_millisecond())
            .bind(now().as_millisecond())
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// All that the organization can use, by last use, latest first.
    pub async fn list(&self, organization: OrganizationId) -> Result<Vec<Snapshot>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM snapshots WHERE organization_id IS NULL OR organization_id = $1 \
             ORDER BY COALESCE(last_used_at, 0) DESC, created_at DESC, id",
        )
        .bind(organization.to_string())
        .fetch_all(&self.store.read)
        .await?;
        rows.iter().map(read).collect()
    }

    /// The one of that id or name that the organization can use.
    pub async fn find(&self, organization: OrganizationId, id_or_name: &str) -> Result<Option<Snapshot>, Error> {
        let row = sqlx::query(
            "SELECT * FROM snapshots WHERE (id = $1 OR name = $2) AND (organization_id IS NULL OR organization_id = $3)",
        )
        .bind(id_or_name.to_lowercase())
        .bind(id_or_name)
        .bind(organization.to_string())
        .fetch_optional(&self.store.read)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// Notes when a sandbox was last made from the one of that name.
    pub async fn touch(&self, name: &str, at: Timestamp) -> Result<(), Error> {
        sqlx::query("UPDATE snapshots SET last_used_at = $1 WHERE name = $2 AND COALESCE(last_used_at, 0) < $1")
            .bind(at.as_millisecond())
            .bind(name)
            .execute(&self.store.write)
            .await?;
        Ok(())
    }
}

fn read(row: &AnyRow) -> Result<Snapshot, Error> {
    let row = Columns(row);
    let organization = row.optional_text("organization_id")?;
    Ok(Snapshot {
        id: row.parse("id")?,
        organization: organization
            .map(|id| id.parse().map_err(|_| Error::Corrupt { column: "organization_id" }))
            .transpose()?,
        name: row.text("name")?,
        size: row.integer("size_bytes")?,
        entrypoint: row.json("entrypoint")?,
        user: row.text("user_name")?,
        resources: Resources {
            cpu: row.integer("cpu")?,
            memory: row.integer("memory_gib")?,
            disk: row.integer("disk_gib")?,
        },
        created_at: row.instant("created_at")?,
        updated_at: row.instant("updated_at")?,
        last_used_at: row.optional_instant("last_used_at")?,
    })
}
