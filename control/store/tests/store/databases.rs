//! A fresh database per test and kind.

use std::env;
use std::future::Future;

use sebring_store::{Organization, Store};
use sebring_types::OrganizationId;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};

/// Where a PostgreSQL server is, with a role that may make databases: `postgres://user@host:port/database`.
const POSTGRES: &str = "SEBRING_TEST_POSTGRES_URL";

/// Runs the test on each kind of database.
pub async fn on_each<F: Future<Output = ()>>(test: impl Fn(Store, Organization) -> F) {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite://{}/sebring.db", directory.path().display());
    run(&url, &test).await;
    match env::var(POSTGRES) {
        Ok(server) => on_postgres(&server, &test).await,
        Err(_) => eprintln!("on SQLite alone: {POSTGRES} is not set"),
    }
}

async fn on_postgres<F: Future<Output = ()>>(server: &str, test: impl Fn(Store, Organization) -> F) {
    sqlx::any::install_default_drivers();
    let name = format!("sebring_test_{}", OrganizationId::generate()).replace('-', "_");
    let mut admin = AnyConnection::connect(server).await.expect("the server");
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("a database");
    let (address, options) = server.split_once('?').unwrap_or((server, ""));
    let base = address.rsplit_once('/').expect("a database in the URL").0;
    run(&format!("{base}/{name}?{options}"), test).await;
    admin.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.expect("dropped");
}

async fn run<F: Future<Output = ()>>(url: &str, test: impl Fn(Store, Organization) -> F) {
    let store = Store::open(url).await.expect("a store");
    let organization = store.organizations().ensure_default().await.expect("an organization");
    test(store.clone(), organization).await;
    store.close().await;
    let again = Store::open(url).await.expect("migrations run once");
    again.ping().await.expect("it answers");
    again.close().await;
}
