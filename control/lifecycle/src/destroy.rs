//! Delete: from any state, ahead of everything else, to the end.

use std::sync::Arc;
use std::time::Duration;

use sebring_fault::{Point, point};
use sebring_store::Sandbox;
use sebring_types::{OrganizationId, SandboxId, SandboxState};
use tokio::time::{sleep, timeout};

use crate::machine::{Step, step};
use crate::{Action, Error, Lifecycle};

impl Lifecycle {
    /// Marks the sandbox as being destroyed, which frees its name, and does the rest in the background.
    pub async fn destroy_sandbox(&self, organization: OrganizationId, id_or_name: &str) -> Result<Sandbox, Error> {
        // Most are asked for by their id, and what is known of it in memory will do.
        let live =
            id_or_name.parse().ok().and_then(|id| self.live(id)).filter(|live| live.organization == organization);
        match live {
            Some(live) => self.destroy_from(live.id, live.state()).await,
            None => {
                let found = self.get(organization, id_or_name).await?;
                self.destroy_from(found.id, found.state).await
            }
        }
    }

    pub(crate) async fn destroy(&self, id: SandboxId) -> Result<Sandbox, Error> {
        let found = self.find(id).await?;
        self.destroy_from(found.id, found.state).await
    }

    async fn destroy_from(&self, id: SandboxId, state: SandboxState) -> Result<Sandbox, Error> {
        let lifecycle = self.clone();
        let mark = async move {
            let marked = lifecycle.mark(id, state).await?;
            point(Point::DestroyMarked);
            marked.begun.into_iter().for_each(|begun| lifecycle.destroy_in_background(begun));
            Ok(marked.sandbox)
        };
        self.detached(mark).await
    }

    /// Enters `destroying` from whatever state the sandbox has by then.
    async fn mark(&self, id: SandboxId, mut state: SandboxState) -> Result<Marked, Error> {
        loop {
            let Step::Enter(_) = step(state, Action::Destroy) else {
                return Ok(Marked { sandbox: self.find(id).await?, begun: Vec::new() });
            };
            if let Some(begun) = self.mark_from(id, state).await? {
                return Ok(begun);
            }
            // It changed in between: look again. Each round is one step of an operation that ends.
            state = self.find(id).await?.state;
        }
    }

    /// Enters `destroying` with all that are linked to the sandbox, and tells everyone; none when it is no longer as it was.
    pub(crate) async fn mark_from(&self, id: SandboxId, from: SandboxState) -> Result<Option<Marked>, Error> {
        let Some(ending) = self.parts.store.sandboxes().destroy(id, from).await? else { return Ok(None) };
        let mut begun = vec![ending.sandbox.clone()];
        self.entered(&ending.sandbox, from);
        for (from, child) in ending.children {
            tracing::info!(sandbox_id = %child.id, parent = %id, "linked sandbox ends with its parent");
            self.entered(&child, from);
            begun.push(child);
        }
        Ok(Some(Marked { sandbox: ending.sandbox, begun }))
    }

    async fn find(&self, id: SandboxId) -> Result<Sandbox, Error> {
        let found = self.parts.store.sandboxes().get(id).await?;
        found.ok_or_else(|| Error::NotFound(id.to_string()))
    }

    /// From `destroying` to nothing, or to `error` when the runner can't.
    pub(crate) fn destroy_in_background(&self, destroying: Sandbox) {
        let lifecycle = self.clone();
        self.parts.operations.spawn(async move {
            if let Err(error) = lifecycle.destroy_to_the_end(&destroying).await {
                tracing::error!(sandbox_id = %destroying.id, %error, "sandbox could not be destroyed");
                let reason = format!("{error}: delete the sandbox again");
                let _ = lifecycle.enter(&destroying, Action::Destroy, SandboxState::Error, Some(reason)).await;
            }
        });
    }

    /// Takes a sandbox from the runner that nobody was told of.
    pub(crate) fn destroy_unwritten(&self, id: SandboxId) {
        let lifecycle = self.clone();
        self.parts.operations.spawn(async move {
            if let Err(error) = lifecycle.destroy_on_runner(id).await {
                tracing::error!(sandbox_id = %id, %error, "a sandbox stays on the runner until the next start");
            }
        });
    }

    async fn destroy_to_the_end(&self, sandbox: &Sandbox) -> Result<(), Error> {
        self.destroy_on_runner(sandbox.id).await?;
        let live = self.parts.table.of(sandbox);
        if live.turn.try_lock().is_err() {
            // An operation was under way and may have made something after we destroyed.
            let _ended = timeout(self.longest(), Arc::clone(&live.turn).lock_owned()).await;
            self.destroy_on_runner(sandbox.id).await?;
        }
        point(Point::DestroyDone);
        self.forget(sandbox).await?;
        point(Point::DestroyForgotten);
        Ok(())
    }

    /// Several attempts with growing pauses between them.
    async fn destroy_on_runner(&self, id: SandboxId) -> Result<(), Error> {
        let attempt = || self.ask(Action::Destroy, |runner| async move { runner.destroy(id).await });
        for pause in &self.parts.config.deadlines.destroy_pauses {
            match attempt().await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(sandbox_id = %id, %error, ?pause, "destroying again after a pause"),
            }
            sleep(*pause).await;
        }
        attempt().await
    }

    /// No operation holds its turn for longer.
    fn longest(&self) -> Duration {
        let deadlines = &self.parts.config.deadlines;
        deadlines.create.max(deadlines.start).max(deadlines.stop) + Duration::from_secs(1)
    }
}

/// What was marked as being destroyed.
pub(crate) struct Marked {
    pub sandbox: Sandbox,
    /// Those that whoever marked them must go on with: the sandbox, unless somebody is at it already, and its children.
    pub begun: Vec<Sandbox>,
}
