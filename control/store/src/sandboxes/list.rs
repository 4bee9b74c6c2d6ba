//! Lists of sandboxes: filters, orders, and pages by an opaque cursor.
//!
//! A cursor names the last row of a page by its value in the sorted column and its id, so that sandboxes that come
//! and go between two pages shift nothing.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use sebring_types::{OrganizationId, SandboxState};
use serde::{Deserialize, Serialize};

use super::{Sandbox, Sandboxes};
use crate::Error;
use crate::sql::{Columns, Growing, Value, starts_with};

/// From, to; both included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Range<T> {
    pub min: Option<T>,
    pub max: Option<T>,
}

/// What to list; the default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The start of the id, whatever its case.
    pub id: Option<String>,
    /// The start of the name, whatever its case.
    pub name: Option<String>,
    /// All of these.
    pub labels: BTreeMap<String, String>,
    /// One of these, if any.
    pub states: Vec<SandboxState>,
    /// One of these names, if any.
    pub snapshots: Vec<String>,
    /// One of these, if any.
    pub targets: Vec<String>,
    pub cpu: Range<u32>,
    pub memory: Range<u32>,
    pub disk: Range<u32>,
    pub public: Option<bool>,
    pub recoverable: Option<bool>,
    pub created_at: Range<Timestamp>,
    pub last_activity_at: Range<Timestamp>,
    pub auto_destroy_at: Range<Timestamp>,
    /// Whether to list those that could not be deleted.
    pub failed_deletions: bool,
    /// The filter asks for what no sandbox has.
    pub nothing: bool,
}

/// The column that orders a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sort {
    Name,
    Cpu,
    Memory,
    Disk,
    LastActivityAt,
    #[default]
    CreatedAt,
    Id,
    State,
    Snapshot,
    Target,
    UpdatedAt,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    pub sort: Sort,
    pub descending: bool,
    /// At least 1.
    pub limit: u32,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// One page of a list whose pages have numbers: those who come and go between two pages shift the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub sort: Sort,
    pub descending: bool,
    /// At least 1.
    pub limit: u32,
    /// How many come before.
    pub offset: u32,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub items: Vec<Sandbox>,
    /// None at the end.
    pub next_cursor: Option<String>,
}

impl Sort {
    fn column(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Cpu => "cpu",
            Self::Memory => "memory_gib",
            Self::Disk => "disk_gib",
            Self::LastActivityAt => "last_activity_at",
            Self::CreatedAt => "created_at",
            Self::Id => "id",
            Self::State => "state",
            Self::Snapshot => "snapshot",
            Self::Target => "target",
            Self::UpdatedAt => "updated_at",
        }
    }

    fn push(self, query: &mut Growing, descending: bool) {
        let order = if descending { " DESC" } else { " ASC" };
        query.push(" ORDER BY ").push(self.column()).push(order).push(", id").push(order);
    }

    fn is_text(self) -> bool {
        matches!(self, Self::Name | Self::Id | Self::State | Self::Snapshot | Self::Target)
    }

    fn value(self, sandbox: &Sandbox) -> Key {
        match self {
            Self::Name => Key::Text(sandbox.name.clone()),
            Self::Cpu => Key::Integer(sandbox.resources.cpu.into()),
            Self::Memory => Key::Integer(sandbox.resources.memory.into()),
            Self::Disk => Key::Integer(sandbox.resources.disk.into()),
            Self::LastActivityAt => Key::Integer(sandbox.last_activity_at.as_millisecond()),
            Self::CreatedAt => Key::Integer(sandbox.created_at.as_millisecond()),
            Self::Id => Key::Text(sandbox.id.to_string()),
            Self::State => Key::Text(sandbox.state.as_str().to_owned()),
            Self::Snapshot => Key::Text(sandbox.snapshot.clone()),
            Self::Target => Key::Text(sandbox.target.clone()),
            Self::UpdatedAt => Key::Integer(sandbox.updated_at.as_millisecond()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Key {
    Integer(i64),
    Text(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    sort: Sort,
    descending: bool,
    key: Key,
    id: String,
}

impl Cursor {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("text and numbers are JSON"))
    }

    fn decode(text: &str, request: &PageRequest) -> Result<Self, Error> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::InvalidCursor)?;
        let cursor: Self = serde_json::from_slice(&bytes).map_err(|_| Error::InvalidCursor)?;
        let text_key = matches!(cursor.key, Key::Text(_));
        let fits =
            cursor.sort == request.sort && cursor.descending == request.descending && text_key == cursor.sort.is_text();
        if fits { Ok(cursor) } else { Err(Error::InvalidCursor) }
    }
}

impl Sandboxes<'_> {
    /// One page of the organization's sandboxes.
    pub async fn list(
        &self,
        organization: OrganizationId,
        filter: &Filter,
        request: &PageRequest,
    ) -> Result<Page, Error> {
        let mut query = Growing::new("SELECT * FROM sandboxes WHERE organization_id = ");
        query.text(organization.to_string());
        filter.push(&mut query);
        if let Some(cursor) = &request.cursor {
            let cursor = Cursor::decode(cursor, request)?;
            query.push(" AND (").push(request.sort.column()).push(", id) ");
            query.push(if request.descending { "< (" } else { "> (" });
            query.bind(match cursor.key {
                Key::Integer(integer) => Value::Integer(integer),
                Key::Text(text) => Value::Text(text),
            });
            query.push(", ").text(cursor.id).push(")");
        }
        request.sort.push(&mut query, request.descending);
        query.push(" LIMIT ").integer(i64::from(request.limit) + 1);
        let rows = query.build().fetch_all(&self.store.read).await?;
        let mut items = rows.iter().map(Sandbox::read).collect::<Result<Vec<_>, _>>()?;
        let more = items.len() > request.limit as usize;
        items.truncate(request.limit as usize);
        let next_cursor = items.last().filter(|_| more).map(|last| {
            let key = request.sort.value(last);
            Cursor { sort: request.sort, descending: request.descending, key, id: last.id.to_string() }.encode()
        });
        Ok(Page { items, next_cursor })
    }

    /// One numbered page of the organization's sandboxes, and how many there are in all.
    pub async fn window(
        &self,
        organization: OrganizationId,
        filter: &Filter,
        window: &Window,
    ) -> Result<(Vec<Sandbox>, u64), Error> {
        let mut query = Growing::new("SELECT * FROM sandboxes WHERE organization_id = ");
        query.text(organization.to_string());
        filter.push(&mut query);
        window.sort.push(&mut query, window.descending);
        query.push(" LIMIT ").integer(window.limit).push(" OFFSET ").integer(window.offset);
        let rows = query.build().fetch_all(&self.store.read).await?;
        let mut query = Growing::new("SELECT COUNT(*) AS total FROM sandboxes WHERE organization_id = ");
        query.text(organization.to_string());
        filter.push(&mut query);
        let total = query.build().fetch_one(&self.store.read).await?;
        let items = rows.iter().map(Sandbox::read).collect::<Result<_, _>>()?;
        Ok((items, Columns(&total).integer("total")?))
    }
}

impl Filter {
    fn push(&self, query: &mut Growing) {
        if self.nothing {
            query.push(" AND 1 = 0");
        }
        if !self.failed_deletions {
            query.push(" AND NOT (state = 'error' AND desired_state = 'destroyed')");
        }
        if let Some(prefix) = &self.id {
            query.push(" AND id LIKE ").text(starts_with(prefix)).push(r" ESCAPE '\'");
        }
        if let Some(prefix) = &self.name {
            query.push(" AND LOWER(name) LIKE ").text(starts_with(prefix)).push(r" ESCAPE '\'");
        }
        for (label, content) in &self.labels {
            query.push(" AND EXISTS (SELECT 1 FROM sandbox_labels l WHERE l.sandbox_id = sandboxes.id AND l.label = ");
            query.text(label).push(" AND l.content = ").text(content).push(")");
        }
        if !self.states.is_empty() {
            query.any_of(" AND state", self.states.iter().map(|state| state.as_str().to_owned()));
        }
        if !self.snapshots.is_empty() {
            query.any_of(" AND snapshot", self.snapshots.iter().cloned());
        }
        if !self.targets.is_empty() {
            query.any_of(" AND target", self.targets.iter().cloned());
        }
        range(query, " AND cpu", self.cpu);
        range(query, " AND memory_gib", self.memory);
        range(query, " AND disk_gib", self.disk);
        range(query, " AND created_at", self.created_at.millis());
        range(query, " AND last_activity_at", self.last_activity_at.millis());
        range(query, " AND auto_destroy_at", self.auto_destroy_at.millis());
        if let Some(public) = self.public {
            query.push(" AND is_public = ").integer(public);
        }
        if let Some(recoverable) = self.recoverable {
            query.push(" AND recoverable = ").integer(recoverable);
        }
    }
}

impl Range<Timestamp> {
    fn millis(self) -> Range<i64> {
        Range { min: self.min.map(Timestamp::as_millisecond), max: self.max.map(Timestamp::as_millisecond) }
    }
}

fn range<T: Into<i64>>(query: &mut Growing, column: &'static str, range: Range<T>) {
    if let Some(min) = range.min {
        query.push(column).push(" >= ").integer(min);
    }
    if let Some(max) = range.max {
        query.push(column).push(" <= ").integer(max);
    }
}
