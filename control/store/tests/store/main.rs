//! The store, on SQLite and, when `SEBRING_TEST_POSTGRES_URL` names a server, on PostgreSQL too.

mod databases;
mod keys;
mod sandboxes;
mod snapshots;
