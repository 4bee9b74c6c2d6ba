//! What can go wrong in the store.

use sebring_types::SandboxId;

/// The caller handles the first four; the rest mean that the database itself failed, and go to the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another sandbox, or key, of the organization has this name.
    #[error("the name is taken")]
    NameTaken,
    /// The sandbox that it is to be linked to is being destroyed, or gone.
    #[error("sandbox {0} is not wanted any more")]
    ParentGone(SandboxId),
    /// The cursor is not one that this list handed out.
    #[error("the cursor is not valid for this list: start again without one")]
    InvalidCursor,
    /// A row holds what this version can't read.
    #[error("column {column} holds an unknown value")]
    Corrupt { column: &'static str },
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("database migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

impl Error {
    /// Tells a duplicate name from other failures of an insert.
    pub(crate) fn on_insert(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner) if inner.is_unique_violation() => Self::NameTaken,
            _ => Self::Database(error),
        }
    }
}
