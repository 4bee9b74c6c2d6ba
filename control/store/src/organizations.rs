//! Organizations: the owners of everything else.

use jiff::Timestamp;
use sebring_types::OrganizationId;
use sqlx::any::AnyRow;

use crate::sql::Columns;
use crate::{Error, Store, now};

/// The name of the organization that is made at the first start.
pub const DEFAULT: &str = "default";

/// An owner of sandboxes, snapshots and keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    pub id: OrganizationId,
    pub name: String,
    pub created_at: Timestamp,
}

/// The table of organizations.
#[derive(Debug, Clone, Copy)]
pub struct Organizations<'s> {
    store: &'s Store,
}

impl<'s> Organizations<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// The organization called [`DEFAULT`]; made when it isn't there.
    pub async fn ensure_default(&self) -> Result<Organization, Error> {
        sqlx::query("INSERT INTO organizations (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(OrganizationId::generate().to_string())
            .bind(DEFAULT)
            .bind(now().as_millisecond())
            .execute(&self.store.write)
            .await?;
        let row = sqlx::query("SELECT * FROM organizations WHERE name = $1")
            .bind(DEFAULT)
            .fetch_one(&self.store.write)
            .await?;
        read(&row)
    }

    /// The organization of that id.
    pub async fn get(&self, id: OrganizationId) -> Result<Option<Organization>, Error> {
        let row = sqlx::query("SELECT * FROM organizations WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.store.read)
            .await?;
        row.as_ref().map(read).transpose()
    }
}

fn read(row: &AnyRow) -> Result<Organization, Error> {
    let row = Columns(row);
    Ok(Organization { id: row.parse("id")?, name: row.text("name")?, created_at: row.instant("created_at")? })
}
