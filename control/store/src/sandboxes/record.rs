//! One sandbox as the control plane knows it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sebring_types::{DesiredState, NetworkSettings, OrganizationId, Resources, SandboxId, SandboxState};
use sqlx::any::AnyRow;
use sqlx::{Any, Executor};

use crate::Error;
use crate::sql::{Columns, json};

/// All that is known of one sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    pub id: SandboxId,
    pub organization: OrganizationId,
    /// Counts changes: of two copies, the one with the higher number is newer.
    pub version: i64,
    /// Unique in the organization while the sandbox is wanted.
    pub name: String,
    /// The snapshot's name.
    pub snapshot: String,
    /// The region, in the words of the public API.
    pub target: String,
    /// The user inside.
    pub user: String,
    pub env: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Whether previews need no key.
    pub public: bool,
    pub network: NetworkSettings,
    /// The sandbox that it shares a network with, and whose end is its own.
    pub linked_to: Option<SandboxId>,
    pub resources: Resources,
    pub state: SandboxState,
    pub desired_state: DesiredState,
    /// Why it is in error, or why it stopped; for the user.
    pub error_reason: Option<String>,
    /// Whether its files are still there after an error.
    pub recoverable: bool,
    /// Minutes without activity until it is stopped; 0 is off.
    pub auto_stop_interval: u32,
    /// Minutes stopped until it is archived; 0 is the longest.
    pub auto_archive_interval: u32,
    /// Minutes stopped until it is deleted; negative is off, 0 is at once.
    pub auto_delete_interval: i32,
    /// When it ends whatever it does.
    pub auto_destroy_at: Option<Timestamp>,
    /// The key that its file URLs are signed with.
    pub signing_key: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub state_changed_at: Timestamp,
    pub last_activity_at: Timestamp,
}

impl Sandbox {
    pub(super) async fn insert<'c>(&self, executor: impl Executor<'c, Database = Any>) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO sandboxes (id, organization_id, name, snapshot, target, user_name, env, labels, is_public, \
             cpu, memory_gib, disk_gib, state, desired_state, error_reason, recoverable, auto_stop_interval, \
             auto_archive_interval, auto_delete_interval, auto_destroy_at, signing_key, created_at, updated_at, \
             state_changed_at, last_activity_at, version, network, linked_to) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, \
             $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28)",
        )
        .bind(self.id.to_string())
        .bind(self.organization.to_string())
        .bind(&self.name)
        .bind(&self.snapshot)
        .bind(&self.target)
        .bind(&self.user)
        .bind(json(&self.env))
        .bind(json(&self.labels))
        .bind(i64::from(self.public))
        .bind(i64::from(self.resources.cpu))
        .bind(i64::from(self.resources.memory))
        .bind(i64::from(self.resources.disk))
        .bind(self.state.as_str())
        .bind(self.desired_state.as_str())
        .bind(&self.error_reason)
        .bind(i64::from(self.recoverable))
        .bind(i64::from(self.auto_stop_interval))
        .bind(i64::from(self.auto_archive_interval))
        .bind(i64::from(self.auto_delete_interval))
        .bind(self.auto_destroy_at.map(Timestamp::as_millisecond))
        .bind(&self.signing_key)
        .bind(self.created_at.as_millisecond())
        .bind(self.updated_at.as_millisecond())
        .bind(self.state_changed_at.as_millisecond())
        .bind(self.last_activity_at.as_millisecond())
        .bind(self.version)
        .bind(json(&self.network))
        .bind(self.linked_to.map(|parent| parent.to_string()))
        .execute(executor)
        .await?;
        Ok(())
    }

    pub(super) fn read(row: &AnyRow) -> Result<Self, Error> {
        let row = Columns(row);
        let state = SandboxState::parse(&row.text("state")?).ok_or(Error::Corrupt { column: "state" })?;
        let desired_state =
            DesiredState::parse(&row.text("desired_state")?).ok_or(Error::Corrupt { column: "desired_state" })?;
        Ok(Self {
            id: row.parse("id")?,
            organization: row.parse("organization_id")?,
            version: row.integer("version")?,
            name: row.text("name")?,
            snapshot: row.text("snapshot")?,
            target: row.text("target")?,
            user: row.text("user_name")?,
            env: row.json("env")?,
            labels: row.json("labels")?,
            public: row.flag("is_public")?,
            network: row.json("network")?,
            linked_to: row.optional_parse("linked_to")?,
            resources: Resources {
                cpu: row.integer("cpu")?,
                memory: row.integer("memory_gib")?,
                disk: row.integer("disk_gib")?,
            },
            state,
            desired_state,
            error_reason: row.optional_text("error_reason")?,
            recoverable: row.flag("recoverable")?,
            auto_stop_interval: row.integer("auto_stop_interval")?,
            auto_archive_interval: row.integer("auto_archive_interval")?,
            auto_delete_interval: row.integer("auto_delete_interval")?,
            auto_destroy_at: row.optional_instant("auto_destroy_at")?,
            signing_key: row.text("signing_key")?,
            created_at: row.instant("created_at")?,
            updated_at: row.instant("updated_at")?,
            state_changed_at: row.instant("state_changed_at")?,
            last_activity_at: row.instant("last_activity_at")?,
        })
    }
}
