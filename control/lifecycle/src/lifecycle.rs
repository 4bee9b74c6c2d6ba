//! The handle on all of it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sebring_events::{Event, EventKind, Events};
use sebring_store::sandboxes::{Filter, Page, PageRequest, Transition, Window};
use sebring_store::{Sandbox, Store};
use sebring_types::runner::RunnerInfo;
use sebring_types::{OrganizationId, Resources, Runner, SandboxId, SandboxState};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::departed::Departed;
use crate::live::Table;
use crate::snapshots::Uses;
use crate::timers::Timers;
use crate::{Action, Busy};
use crate::{Config, Error, Live, machine};

/// Decides what becomes of sandboxes; clones share everything.
#[derive(Clone)]
pub struct Lifecycle {
    pub(crate) parts: Arc<Parts>,
}

pub(crate) struct Parts {
    pub store: Store,
    pub runner: Arc<dyn Runner>,
    pub events: Events,
    pub config: Config,
    pub table: Table,
    pub timers: Timers,
    pub uses: Uses,
    pub departed: Departed,
    /// Operations that are under way.
    pub operations: TaskTracker,
    /// Ends the tasks that only wait.
    pub ending: CancellationToken,
}

impl Lifecycle {
    /// The organization's sandbox of that id or name.
    pub async fn get(&self, organization: OrganizationId, id_or_name: &str) -> Result<Sandbox, Error> {
        let found = self.parts.store.sandboxes().find(organization, id_or_name).await?;
        let sandbox = found.ok_or_else(|| Error::NotFound(id_or_name.to_owned()))?;
        Ok(self.with_activity(sandbox))
    }

    /// A sandbox of the organization's that is gone for some seconds at most.
    pub fn departed(&self, organization: OrganizationId, id: SandboxId) -> Option<Sandbox> {
        self.parts.departed.find(organization, id)
    }

    /// One page of the organization's sandboxes.
    pub async fn list(
        &self,
        organization: OrganizationId,
        filter: &Filter,
        request: &PageRequest,
    ) -> Result<Page, Error> {
        let mut page = self.parts.store.sandboxes().list(organization, filter, request).await?;
        page.items = page.items.into_iter().map(|sandbox| self.with_activity(sandbox)).collect();
        Ok(page)
    }

    /// One numbered page of the organization's sandboxes, and how many there are in all.
    pub async fn window(
        &self,
        organization: OrganizationId,
        filter: &Filter,
        window: &Window,
    ) -> Result<(Vec<Sandbox>, u64), Error> {
        let (items, total) = self.parts.store.sandboxes().window(organization, filter, window).await?;
        Ok((items.into_iter().map(|sandbox| self.with_activity(sandbox)).collect(), total))
    }

    /// Fails when nothing could be done: the database does not answer.
    pub async fn ready(&self) -> Result<(), Error> {
        Ok(self.parts.store.ping().await?)
    }

    /// The runner, and what sandboxes were promised of it.
    pub async fn runner(&self) -> Result<(RunnerInfo, Resources), Error> {
        let info = self.parts.runner.info().await.map_err(Error::from_runner)?;
        Ok((info, self.parts.store.sandboxes().promised().await?))
    }

    /// The region of sandboxes that name none.
    pub fn default_target(&self) -> &str {
        &self.parts.config.default_target
    }

    /// The snapshot of sandboxes that name none.
    pub fn default_snapshot(&self) -> &str {
        &self.parts.config.default_snapshot
    }

    /// What is known of a sandbox without asking the database; none when there is no such sandbox.
    pub fn live(&self, id: SandboxId) -> Option<Arc<Live>> {
        self.parts.table.get(id)
    }

    /// Counts as activity of the sandbox until it is dropped.
    pub fn busy(&self, live: &Arc<Live>) -> Busy {
        let busy = live.busy();
        if let Some(at) = live.activity.to_note() {
            let (id, store) = (live.id, self.parts.store.clone());
            self.parts.operations.spawn(async move {
                if let Err(error) = store.sandboxes().touch(id, at).await {
                    tracing::warn!(sandbox_id = %id, %error, "the last activity could not be written");
                }
            });
        }
        busy
    }

    /// Ends what runs in the background: waits for operations under way, at most for `grace`, and writes down what
    /// is only in memory. Sandboxes go on.
    pub async fn shutdown(&self, grace: Duration) {
        self.parts.ending.cancel();
        self.parts.operations.close();
        if tokio::time::timeout(grace, self.parts.operations.wait()).await.is_err() {
            tracing::warn!(left = self.parts.operations.len(), "operations were left to the next start");
        }
        for live in self.parts.table.all() {
            if let Some(at) = live.activity.unnoted()
                && let Err(error) = self.parts.store.sandboxes().touch(live.id, at).await
            {
                tracing::warn!(sandbox_id = %live.id, %error, "the last activity could not be written");
            }
        }
    }

    /// Runs `operation` to its end even when nobody waits for it any more.
    pub(crate) async fn detached<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.parts.operations.spawn(operation).await.unwrap_or_else(|error| Err(Error::Lost(error.to_string())))
    }

    /// The sandbox and its turn, to change it alone.
    pub(crate) async fn turn(&self, id: SandboxId) -> Result<Turn, Error> {
        let not_found = || Error::NotFound(id.to_string());
        let live = self.live(id).ok_or_else(not_found)?;
        let guard = Arc::clone(&live.turn).lock_owned().await;
        let sandbox = self.parts.store.sandboxes().get(id).await?.ok_or_else(not_found)?;
        Ok(Turn { sandbox, _guard: guard })
    }

    /// Moves the sandbox on, tells everyone and sets its timers. [`Error::Overtaken`] when it is no longer as it was.
    pub(crate) async fn enter(
        &self,
        sandbox: &Sandbox,
        action: Action,
        to: SandboxState,
        error_reason: Option<String>,
    ) -> Result<Sandbox, Error> {
        let (id, from) = (sandbox.id, sandbox.state);
        let desired = match to {
            // What was wanted could not be had.
            SandboxState::Stopped => sebring_types::DesiredState::Stopped,
            _ => machine::desired(action),
        };
        let change = Transition { from, to, desired, error_reason };
        let changed = self.parts.store.sandboxes().transition(id, change).await?;
        let changed = changed.ok_or(Error::Overtaken(action))?;
        self.entered(&changed, from);
        Ok(changed)
    }

    /// Tells everyone of a change of state that was written, and sets the sandbox's timers.
    pub(crate) fn entered(&self, changed: &Sandbox, from: SandboxState) {
        tracing::info!(
            sandbox_id = %changed.id,
            from = from.as_str(),
            to = changed.state.as_str(),
            reason = changed.error_reason.as_deref(),
            "sandbox changed its state"
        );
        self.parts.table.of(changed).apply(changed, || {
            self.arm(changed);
            self.publish(changed, EventKind::StateUpdated { old: from, new: changed.state });
        });
    }

    pub(crate) fn publish(&self, sandbox: &Sandbox, kind: EventKind) {
        let sandbox = Arc::new(self.with_activity(sandbox.clone()));
        self.parts.events.publish(Event { sandbox, kind });
    }

    /// Forgets a sandbox that is no more.
    pub(crate) async fn forget(&self, sandbox: &Sandbox) -> Result<(), Error> {
        self.parts.store.sandboxes().remove(sandbox.id).await?;
        self.parts.table.remove(sandbox.id);
        self.parts.timers.clear(sandbox.id);
        tracing::info!(sandbox_id = %sandbox.id, from = sandbox.state.as_str(), to = "destroyed", "sandbox is gone");
        let mut gone = sandbox.clone();
        gone.state = SandboxState::Destroyed;
        gone.desired_state = sebring_types::DesiredState::Destroyed;
        let kind = EventKind::StateUpdated { old: sandbox.state, new: SandboxState::Destroyed };
        self.parts.departed.note(gone.clone());
        self.publish(&gone, kind);
        Ok(())
    }

    pub(crate) fn with_activity(&self, mut sandbox: Sandbox) -> Sandbox {
        if let Some(live) = self.live(sandbox.id) {
            sandbox.last_activity_at = sandbox.last_activity_at.max(live.activity.last());
        }
        sandbox
    }
}

/// The right to change one sandbox, and the sandbox as it is.
pub(crate) struct Turn {
    pub sandbox: Sandbox,
    _guard: tokio::sync::OwnedMutexGuard<()>,
}
