//! The parts of a control plane, on a scratch database.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use sebring_auth::Authenticator;
use sebring_events::{Event, Events};
use sebring_lifecycle::{Config, Deadlines, Lifecycle, NewSandbox};
use sebring_store::{Sandbox, Secret, Store};
use sebring_types::{OrganizationId, Runner};
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::MemoryRunner;

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(20);

/// A control plane.
pub struct Rig {
    pub store: Store,
    pub runner: Arc<MemoryRunner>,
    pub events: Events,
    pub lifecycle: Lifecycle,
    pub authenticator: Authenticator,
    pub organization: OrganizationId,
    /// A key with every permission.
    pub key: Secret,
    _directory: TempDir,
}

impl Rig {
    /// One whose agents are `agent`.
    pub async fn with_agent(agent: Router) -> Self {
        Self::start(MemoryRunner::new(agent), async |_, _| {}).await
    }

    /// One whose agents know no route.
    pub async fn new() -> Self {
        Self::with_agent(Router::new()).await
    }

    /// One that finds what `before` left in the store and on the runner.
    pub async fn start(runner: Arc<MemoryRunner>, before: impl AsyncFnOnce(&Store, OrganizationId)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite://{}/sebring.db", directory.path().display());
        let store = Store::open(&url).await.expect("a store");
        let organization = store.organizations().ensure_default().await.expect("an organization").id;
        let key = store.api_keys().ensure_admin(organization, None).await.expect("a key").expect("made now");
        before(&store, organization).await;
        let events = Events::new();
        let hands: Arc<dyn Runner> = Arc::clone(&runner) as _;
        let lifecycle = Lifecycle::start(store.clone(), hands, events.clone(), impatient()).await.expect("started");
        let authenticator = Authenticator::new(store.clone());
        Self { store, runner, events, lifecycle, authenticator, organization, key, _directory: directory }
    }

    /// The runner as the program sees it.
    pub fn hands(&self) -> Arc<dyn Runner> {
        Arc::clone(&self.runner) as _
    }

    /// What a user asks for who asks for nothing.
    pub fn plain(&self) -> NewSandbox {
        NewSandbox {
            organization: self.organization,
            name: None,
            snapshot: None,
            target: None,
            user: None,
            env: Default::default(),
            labels: Default::default(),
            public: false,
            network: Default::default(),
            cpu: None,
            memory: None,
            disk: None,
            auto_stop_interval: 15,
            auto_archive_interval: 0,
            auto_delete_interval: -1,
            ttl_minutes: 0,
            linked_to: None,
        }
    }

    /// A started sandbox.
    pub async fn sandbox(&self) -> Sandbox {
        self.lifecycle.create(self.plain()).await.expect("a sandbox")
    }
}

fn impatient() -> Config {
    let short = Duration::from_millis(300);
    let deadlines = Deadlines {
        create: short,
        start: short,
        stop: short,
        destroy: short,
        destroy_pauses: vec![Duration::from_millis(10)],
    };
    Config { deadlines, stop_answer: Duration::from_millis(50), ..Config::default() }
}

/// The first event that `wanted` takes.
pub async fn eventually<T>(events: &mut broadcast::Receiver<Event>, wanted: impl Fn(&Event) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = wanted(&events.recv().await.expect("the bus is open")) {
                return found;
            }
        }
    };
    within(found).await
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it happens")
}
