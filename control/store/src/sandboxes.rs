//! Sandboxes, with their labels.

mod list;
mod record;

use std::collections::BTreeMap;

use jiff::Timestamp;
use sebring_types::{DesiredState, NetworkSettings, OrganizationId, Resources, SandboxId, SandboxState};
use sqlx::{Any, AnyConnection, Executor};

pub use list::{Filter, Page, PageRequest, Range, Sort, Window};
pub use record::Sandbox;

use crate::sql::{Columns, Growing, Value, json};
use crate::{Error, Store, now};

/// The table of sandboxes.
#[derive(Debug, Clone, Copy)]
pub struct Sandboxes<'s> {
    store: &'s Store,
}

/// A change of state, made only if the sandbox still has the state `from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub from: SandboxState,
    pub to: SandboxState,
    pub desired: DesiredState,
    /// For the user; none clears the former one.
    pub error_reason: Option<String>,
}

/// A sandbox that was marked as being destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub sandbox: Sandbox,
    /// Those that end with it, each with the state that it had.
    pub children: Vec<(SandboxState, Sandbox)>,
}

/// A property that users change while the sandbox is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    Public(bool),
    /// Minutes; 0 is off.
    AutoStop(u32),
    /// Minutes; 0 is the longest.
    AutoArchive(u32),
    /// Minutes; negative is off, 0 is at once.
    AutoDelete(i32),
    AutoDestroyAt(Option<Timestamp>),
    SigningKey(String),
    Network(NetworkSettings),
}

impl<'s> Sandboxes<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// Writes a new sandbox. [`Error::NameTaken`] when it is, and [`Error::ParentGone`] when that which it is linked to is no
    /// longer wanted: who marks a sandbox as unwanted and then asks for those linked to it gets all there will ever be.
    pub async fn insert(&self, sandbox: &Sandbox) -> Result<(), Error> {
        if sandbox.labels.is_empty() && sandbox.linked_to.is_none() {
            // One statement needs no transaction, which is two more.
            return sandbox.insert(&self.store.write).await.map_err(Error::on_insert);
        }
        let mut transaction = self.store.write.begin().await?;
        if let Some(parent) = sandbox.linked_to {
            hold(&mut transaction, parent).await?;
        }
        sandbox.insert(&mut *transaction).await.map_err(Error::on_insert)?;
        write_labels(&mut transaction, sandbox.id, &sandbox.labels).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The sandbox of that id, whoever owns it.
    pub async fn get(&self, id: SandboxId) -> Result<Option<Sandbox>, Error> {
        let row = sqlx::query("SELECT * FROM sandboxes WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.store.read)
            .await?;
        row.as_ref().map(Sandbox::read).transpose()
    }

    /// The organization's sandbox of that id, or name; one that is being destroyed has lost its name.
    pub async fn find(&self, organization: OrganizationId, id_or_name: &str) -> Result<Option<Sandbox>, Error> {
        let row = sqlx::query(
            "SELECT * FROM sandboxes WHERE organization_id = $1 \
             AND (id = $2 OR (name = $3 AND desired_state <> 'destroyed')) \
             ORDER BY CASE WHEN id = $2 THEN 0 ELSE 1 END LIMIT 1",
        )
        .bind(organization.to_string())
        .bind(id_or_name.to_lowercase())
        .bind(id_or_name)
        .fetch_optional(&self.store.read)
        .await?;
        row.as_ref().map(Sandbox::read).transpose()
    }

    /// Every sandbox of every organization, for the start of the program.
    pub async fn all(&self) -> Result<Vec<Sandbox>, Error> {
        let rows = sqlx::query("SELECT * FROM sandboxes ORDER BY id").fetch_all(&self.store.read).await?;
        rows.iter().map(Sandbox::read).collect()
    }

    /// What all sandboxes of all organizations were promised: CPUs and memory of those that run, disks of all.
    pub async fn promised(&self) -> Result<Resources, Error> {
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(CASE WHEN state = 'started' THEN cpu ELSE 0 END), 0) AS BIGINT) AS cpu, \
             CAST(COALESCE(SUM(CASE WHEN state = 'started' THEN memory_gib ELSE 0 END), 0) AS BIGINT) AS memory, \
             CAST(COALESCE(SUM(disk_gib), 0) AS BIGINT) AS disk FROM sandboxes",
        )
        .fetch_one(&self.store.read)
        .await?;
        let row = Columns(&row);
        Ok(Resources { cpu: row.integer("cpu")?, memory: row.integer("memory")?, disk: row.integer("disk")? })
    }

    /// Changes the state; none when the sandbox is gone or no longer has the state it should.
    pub async fn transition(&self, id: SandboxId, change: Transition) -> Result<Option<Sandbox>, Error> {
        transition(&self.store.write, id, change).await
    }

    /// Enters `destroying`, and with the sandbox all that are linked to it: nobody ever reads the one without the others.
    /// None when the sandbox is gone or no longer has the state `from`.
    pub async fn destroy(&self, id: SandboxId, from: SandboxState) -> Result<Option<Ending>, Error> {
        let change = |from| Transition {
            from,
            to: SandboxState::Destroying,
            desired: DesiredState::Destroyed,
            error_reason: None,
        };
        let mut transaction = self.store.write.begin().await?;
        let Some(sandbox) = transition(&mut *transaction, id, change(from)).await? else { return Ok(None) };
        // A write that changes nothing keeps them as they are until the transaction ends.
        let held = sqlx::query(
            "UPDATE sandboxes SET version = version WHERE linked_to = $1 AND state <> 'destroying' RETURNING id, state",
        )
        .bind(id.to_string())
        .fetch_all(&mut *transaction)
        .await?;
        let mut children = Vec::with_capacity(held.len());
        for row in &held {
            let row = Columns(row);
            let from = SandboxState::parse(&row.text("state")?).ok_or(Error::Corrupt { column: "state" })?;
            let child = transition(&mut *transaction, row.parse("id")?, change(from)).await?;
            children.extend(child.map(|child| (from, child)));
        }
        transaction.commit().await?;
        Ok(Some(Ending { sandbox, children }))
    }

    /// Changes one property; none when the sandbox is gone.
    pub async fn set(&self, id: SandboxId, setting: Setting) -> Result<Option<Sandbox>, Error> {
        let (column, value) = match setting {
            Setting::Public(public) => ("is_public = ", Some(Value::Integer(public.into()))),
            Setting::AutoStop(minutes) => ("auto_stop_interval = ", Some(Value::Integer(minutes.into()))),
            Setting::AutoArchive(minutes) => ("auto_archive_interval = ", Some(Value::Integer(minutes.into()))),
            Setting::AutoDelete(minutes) => ("auto_delete_interval = ", Some(Value::Integer(minutes.into()))),
            Setting::AutoDestroyAt(at) => ("auto_destroy_at = ", at.map(|at| Value::Integer(at.as_millisecond()))),
            Setting::Network(network) => ("network = ", Some(Value::Text(json(&network)))),
            Setting::SigningKey(key) => ("signing_key = ", Some(Value::Text(key))),
        };
        let mut query = Growing::new("UPDATE sandboxes SET ");
        query.push(column);
        match value {
            Some(value) => query.bind(value),
            None => query.push("NULL"),
        };
        query.push(", version = version + 1, updated_at = ").integer(now().as_millisecond());
        query.push(" WHERE id = ").text(id.to_string()).push(" RETURNING *");
        let row = query.build().fetch_optional(&self.store.write).await?;
        row.as_ref().map(Sandbox::read).transpose()
    }

    /// Changes the sizes; none when the sandbox is gone.
    pub async fn resize(&self, id: SandboxId, resources: Resources) -> Result<Option<Sandbox>, Error> {
        let row = sqlx::query(
            "UPDATE sandboxes SET cpu = $1, memory_gib = $2, disk_gib = $3, updated_at = $4, version = version + 1 \
             WHERE id = $5 RETURNING *",
        )
        .bind(i64::from(resources.cpu))
        .bind(i64::from(resources.memory))
        .bind(i64::from(resources.disk))
        .bind(now().as_millisecond())
        .bind(id.to_string())
        .fetch_optional(&self.store.write)
        .await?;
        row.as_ref().map(Sandbox::read).transpose()
    }

    /// Replaces all labels; none when the sandbox is gone.
    pub async fn set_labels(&self, id: SandboxId, labels: &BTreeMap<String, String>) -> Result<Option<Sandbox>, Error> {
        let mut transaction = self.store.write.begin().await?;
        let row = sqlx::query(
            "UPDATE sandboxes SET labels = $1, updated_at = $2, version = version + 1 WHERE id = $3 RETURNING *",
        )
        .bind(json(labels))
        .bind(now().as_millisecond())
        .bind(id.to_string())
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = row else { return Ok(None) };
        sqlx::query("DELETE FROM sandbox_labels WHERE sandbox_id = $1")
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
        write_labels(&mut transaction, id, labels).await?;
        transaction.commit().await?;
        Sandbox::read(&row).map(Some)
    }

    /// Notes when the sandbox was last used.
    pub async fn touch(&self, id: SandboxId, at: Timestamp) -> Result<(), Error> {
        sqlx::query("UPDATE sandboxes SET last_activity_at = $1 WHERE id = $2 AND last_activity_at < $1")
            .bind(at.as_millisecond())
            .bind(id.to_string())
            .execute(&self.store.write)
            .await?;
        Ok(())
    }

    /// Forgets the sandbox.
    pub async fn remove(&self, id: SandboxId) -> Result<(), Error> {
        sqlx::query("DELETE FROM sandboxes WHERE id = $1").bind(id.to_string()).execute(&self.store.write).await?;
        Ok(())
    }
}

async fn transition<'c>(
    executor: impl Executor<'c, Database = Any>,
    id: SandboxId,
    change: Transition,
) -> Result<Option<Sandbox>, Error> {
    let row = sqlx::query(
        "UPDATE sandboxes SET state = $1, desired_state = $2, error_reason = $3, updated_at = $4, \
         state_changed_at = $4, version = version + 1 WHERE id = $5 AND state = $6 RETURNING *",
    )
    .bind(change.to.as_str())
    .bind(change.desired.as_str())
    .bind(change.error_reason)
    .bind(now().as_millisecond())
    .bind(id.to_string())
    .bind(change.from.as_str())
    .fetch_optional(executor)
    .await?;
    row.as_ref().map(Sandbox::read).transpose()
}

/// Keeps a sandbox wanted until the transaction ends: a write that changes nothing, which both databases understand as a
/// lock of the row.
async fn hold(connection: &mut AnyConnection, id: SandboxId) -> Result<(), Error> {
    let held = sqlx::query("UPDATE sandboxes SET version = version WHERE id = $1 AND desired_state <> 'destroyed'")
        .bind(id.to_string())
        .execute(connection)
        .await?;
    if held.rows_affected() == 1 { Ok(()) } else { Err(Error::ParentGone(id)) }
}

async fn write_labels(
    connection: &mut AnyConnection,
    id: SandboxId,
    labels: &BTreeMap<String, String>,
) -> Result<(), Error> {
    for (label, content) in labels {
        sqlx::query("INSERT INTO sandbox_labels (sandbox_id, label, content) VALUES ($1, $2, $3)")
            .bind(id.to_string())
            .bind(label)
            .bind(content)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
