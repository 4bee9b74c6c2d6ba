//! What the control plane remembers: organizations, API keys, sandboxes and snapshots.
//!
//! One set of queries for SQLite, the default, and PostgreSQL: `$1` parameters, TEXT and BIGINT columns, see
//! `migrations/`, which run when the store is opened. One file per aggregate holds all SQL of its tables; the rest of
//! the program sees records with typed ids.
//!
//! The store decides nothing. It does keep four promises for those who decide: a sandbox's name is unique in its
//! organization while the sandbox is wanted, nothing is linked to a sandbox that is not wanted any more, a state changes
//! only from the state that the writer believes in ([`Sandboxes::transition`]), and of a key nothing but its digest is
//! written.
#![forbid(unsafe_code)]

pub mod api_keys;
mod error;
mod instant;
mod migrations;
pub mod organizations;
pub mod sandboxes;
mod secret;
pub mod snapshots;
mod sql;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyPool, ConnectOptions, Executor};

pub use api_keys::{ApiKey, ApiKeys, Grant, Permission};
pub use error::Error;
pub use instant::now;
pub use organizations::{Organization, Organizations};
pub use sandboxes::{Sandbox, Sandboxes};
pub use secret::Secret;
pub use snapshots::{Snapshot, Snapshots};

/// A handle on the database; clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    read: AnyPool,
    write: AnyPool,
}

/// Connections that read at the same time.
const READERS: u32 = 4;
/// A query that waits longer than this for a connection fails.
const ACQUIRE: Duration = Duration::from_secs(10);

impl Store {
    /// Opens the database at `url` and brings its tables up to date.
    ///
    /// `sqlite:///path/to/file` (made when it isn't there; its folder must be) or `postgres://user@host/database`.
    pub async fn open(url: &str) -> Result<Self, Error> {
        sqlx::any::install_default_drivers();
        let store = if url.starts_with("sqlite:") { Self::sqlite(url).await? } else { Self::postgres(url).await? };
        migrations::migrator().run(&store.write).await?;
        Ok(store)
    }

    /// SQLite lets one connection write at a time: a pool of one queues writers fairly, where several would meet in
    /// its busy handler, which sleeps.
    async fn sqlite(url: &str) -> Result<Self, Error> {
        let url = if url.contains('?') { url.to_owned() } else { format!("{url}?mode=rwc") };
        make_private(&url)?;
        let write = pool(&url, 1).await?;
        let read = pool(&url, READERS).await?;
        Ok(Self { read, write })
    }

    async fn postgres(url: &str) -> Result<Self, Error> {
        let both = pool(url, 2 * READERS).await?;
        Ok(Self { read: both.clone(), write: both })
    }

    /// The organizations.
    pub fn organizations(&self) -> Organizations<'_> {
        Organizations::new(self)
    }

    /// The keys that programs sign in with.
    pub fn api_keys(&self) -> ApiKeys<'_> {
        ApiKeys::new(self)
    }

    /// The sandboxes.
    pub fn sandboxes(&self) -> Sandboxes<'_> {
        Sandboxes::new(self)
    }

    /// The snapshots.
    pub fn snapshots(&self) -> Snapshots<'_> {
        Snapshots::new(self)
    }

    /// Fails when the database does not answer.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").fetch_one(&self.read).await?;
        Ok(())
    }

    /// Waits for running queries and closes every connection.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// Makes the file, if it isn't there, for its owner alone: it holds variables of sandboxes. SQLite gives the files
/// that it makes beside it the same mode.
fn make_private(url: &str) -> Result<(), Error> {
    let options: SqliteConnectOptions = url.parse()?;
    let file = options.get_filename();
    if file.as_os_str() == ":memory:" {
        return Ok(());
    }
    let made = OpenOptions::new().append(true).create(true).mode(0o600).open(file);
    made.map(drop).map_err(|error| sqlx::Error::Io(error).into())
}

async fn pool(url: &str, connections: u32) -> Result<AnyPool, Error> {
    let options: AnyConnectOptions = url.parse()?;
    let pool = AnyPoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE)
        .test_before_acquire(false)
        .after_connect(|connection, _| {
            Box::pin(async move {
                if connection.backend_name() == "SQLite" {
                    connection.execute(PRAGMAS).await?;
                }
                Ok(())
            })
        })
        .connect_with(options.disable_statement_logging())
        .await?;
    Ok(pool)
}

/// Write-ahead log: readers never wait for the writer, and a crash of the program loses nothing; a crash of the
/// machine may lose the last moments, which the reconciliation with the runner repairs.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 5000; \
                       PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY";
