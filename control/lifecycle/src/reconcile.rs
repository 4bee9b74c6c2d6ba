//! The start: what the store remembers meets what the runner holds.
//!
//! | in the store | on the runner | becomes |
//! |---|---|---|
//! | `creating` | any | destroyed: nobody waits for the answer any more |
//! | `destroying`, or wanted destroyed | any | destroyed |
//! | linked to one of those, or to none that is there | any | destroyed |
//! | wanted `stopped` | running | stopped |
//! | any other | running | `started` |
//! | any other | stopped | `stopped`; with a reason if it was to run |
//! | any other | nothing | `error` |
//! | nothing | any | destroyed on the runner |
//!
//! A change that was cut off between the two: of the sizes the runner's are right, for a disk can't shrink; what the
//! sandbox may reach is what the store says.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use sebring_events::Events;
use sebring_fault::{Point, point};
use sebring_store::{Sandbox, Store};
use sebring_types::runner::{Held, Observed, StopMode};
use sebring_types::{DesiredState, Runner, SandboxId, SandboxState};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::departed::Departed;
use crate::lifecycle::Parts;
use crate::live::Table;
use crate::snapshots::Uses;
use crate::timers::Timers;
use crate::{Action, Config, Error, Lifecycle, links};

/// Said of a sandbox that ended while the server was away.
const ENDED: &str = "the sandbox ended while the server was not running";
/// Said of a sandbox that the runner does not know.
const LOST: &str = "the runner no longer holds the sandbox's files: delete it";

impl Lifecycle {
    /// Takes over what an earlier process left, and starts to watch timers and the runner.
    pub async fn start(store: Store, runner: Arc<dyn Runner>, events: Events, config: Config) -> Result<Self, Error> {
        let parts = Arc::new_cyclic(|parts: &Weak<Parts>| {
            let due = parts.clone();
            let timers = Timers::start(move |id, what| {
                let Some(parts) = due.upgrade() else { return };
                let lifecycle = Self { parts: Arc::clone(&parts) };
                parts.operations.spawn(async move {
                    if let Err(error) = lifecycle.on_due(id, what).await {
                        tracing::warn!(sandbox_id = %id, ?what, %error, "a timer could not do its work");
                    }
                });
            });
            let (operations, ending) = (TaskTracker::new(), CancellationToken::new());
            let (table, uses, departed) = (Table::default(), Uses::default(), Departed::default());
            Parts { store, runner, events, config, table, timers, uses, departed, operations, ending }
        });
        let lifecycle = Self { parts };
        lifecycle.sync_snapshots().await?;
        lifecycle.reconcile().await?;
        tokio::spawn(lifecycle.clone().watch());
        Ok(lifecycle)
    }

    /// Hears what the runner observes until the program ends.
    async fn watch(self) {
        loop {
            let observation = tokio::select! {
                observation = self.parts.runner.observe() => observation,
                () = self.parts.ending.cancelled() => return,
            };
            let Some(observation) = observation else { return };
            tracing::info!(?observation, "the runner observed");
            let lifecycle = self.clone();
            self.parts.operations.spawn(async move {
                if let Err(error) = lifecycle.on_observation(observation).await {
                    tracing::warn!(%error, "an observation could not be written");
                }
            });
        }
    }

    async fn reconcile(&self) -> Result<(), Error> {
        let held = self.parts.runner.inventory().await;
        let mut held: HashMap<_, _> = held.into_iter().map(|held| (held.id, held)).collect();
        let sandboxes = self.parts.store.sandboxes().all().await?;
        let parents = links::parents(&sandboxes);
        // All of them first: the end of one may be the end of others.
        for sandbox in &sandboxes {
            self.parts.table.of(sandbox);
        }
        for mut sandbox in sandboxes {
            point(Point::SettleFound);
            let found = held.remove(&sandbox.id);
            if let Some(found) = &found {
                self.agree(&mut sandbox, found).await?;
            }
            if sandbox.linked_to.is_some_and(|parent| !parents.contains(&parent)) {
                self.settle_unwanted(sandbox).await?;
            } else {
                self.settle(sandbox, found.map(|found| found.observed)).await?;
            }
        }
        for id in held.into_keys() {
            self.destroy_stray(id);
        }
        Ok(())
    }

    /// Completes a change of a sandbox's sizes or network that was cut off.
    async fn agree(&self, sandbox: &mut Sandbox, found: &Held) -> Result<(), Error> {
        let id = sandbox.id;
        if found.resources != sandbox.resources
            && let Some(changed) = self.parts.store.sandboxes().resize(id, found.resources).await?
        {
            tracing::info!(sandbox_id = %id, "an interrupted resize was completed");
            *sandbox = changed;
        }
        let egress = sandbox.network.egress();
        if found.egress != egress {
            tracing::info!(sandbox_id = %id, "an interrupted change of the network is undone");
            if let Err(error) =
                self.ask(Action::Confine, |runner| async move { runner.set_egress(id, egress).await }).await
            {
                tracing::error!(sandbox_id = %id, %error, "the sandbox's network is not as the store says");
            }
        }
        Ok(())
    }

    async fn settle(&self, sandbox: Sandbox, observed: Option<Observed>) -> Result<(), Error> {
        let unwanted = sandbox.desired_state == DesiredState::Destroyed || sandbox.state == SandboxState::Creating;
        let to_stop = sandbox.desired_state == DesiredState::Stopped;
        match observed {
            _ if unwanted || sandbox.state == SandboxState::Destroying => self.settle_unwanted(sandbox).await,
            Some(Observed::Running) if to_stop => self.settle_stop(sandbox).await,
            Some(Observed::Running) => self.settle_as(&sandbox, Action::Start, SandboxState::Started, None).await,
            Some(Observed::Stopped) if to_stop => {
                self.settle_as(&sandbox, Action::Stop, SandboxState::Stopped, sandbox.error_reason.clone()).await
            }
            Some(Observed::Stopped) => {
                let reason = sandbox.error_reason.clone().unwrap_or_else(|| ENDED.to_owned());
                self.settle_as(&sandbox, Action::Stop, SandboxState::Stopped, Some(reason)).await
            }
            None => {
                let action = if to_stop { Action::Stop } else { Action::Start };
                self.settle_as(&sandbox, action, SandboxState::Error, Some(LOST.to_owned())).await
            }
        }
    }

    async fn settle_as(
        &self,
        sandbox: &Sandbox,
        action: Action,
        to: SandboxState,
        reason: Option<String>,
    ) -> Result<(), Error> {
        if sandbox.state == to {
            self.arm(sandbox);
        } else {
            self.enter(sandbox, action, to, reason).await?;
        }
        Ok(())
    }

    async fn settle_unwanted(&self, sandbox: Sandbox) -> Result<(), Error> {
        if sandbox.state == SandboxState::Destroying {
            self.destroy_in_background(sandbox);
        } else if let Some(marked) = self.mark_from(sandbox.id, sandbox.state).await? {
            marked.begun.into_iter().for_each(|begun| self.destroy_in_background(begun));
        }
        // Else the end of its parent came first.
        Ok(())
    }

    /// Goes on with a stop that was cut off.
    async fn settle_stop(&self, sandbox: Sandbox) -> Result<(), Error> {
        let stopping = match sandbox.state {
            SandboxState::Stopping => sandbox,
            _ => self.enter(&sandbox, Action::Stop, SandboxState::Stopping, None).await?,
        };
        let lifecycle = self.clone();
        let turn = Arc::clone(&self.parts.table.of(&stopping).turn).lock_owned().await;
        self.parts.operations.spawn(async move {
            let _turn = turn;
            // What fails is written down as the sandbox's state.
            let _ = lifecycle.finish_stop(&stopping, StopMode::Graceful).await;
        });
        Ok(())
    }

    /// Removes from the runner what nobody remembers.
    fn destroy_stray(&self, id: SandboxId) {
        tracing::warn!(sandbox_id = %id, "the runner holds a sandbox that the store does not know: destroying it");
        let runner = Arc::clone(&self.parts.runner);
        self.parts.operations.spawn(async move {
            if let Err(error) = runner.destroy(id).await {
                tracing::error!(sandbox_id = %id, %error, "the unknown sandbox could not be destroyed");
            }
        });
    }
}
