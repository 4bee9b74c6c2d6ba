//! What happens on its own: timers that fall due, sandboxes whose processes end.

use jiff::{SignedDuration, Timestamp};
use sebring_events::EventKind;
use sebring_fault::{Point, point};
use sebring_store::{Sandbox, now};
use sebring_types::runner::{ExitCause, Observation, StopMode};
use sebring_types::{SandboxId, SandboxState};

use crate::timers::Due;
use crate::{Action, Error, Lifecycle};

impl Lifecycle {
    /// Sets every timer as the sandbox is now.
    pub(crate) fn arm(&self, sandbox: &Sandbox) {
        for due in Due::ALL {
            self.parts.timers.set(sandbox.id, due, self.due_at(sandbox, due));
        }
    }

    /// When it is due; none while it is not running.
    fn due_at(&self, sandbox: &Sandbox, due: Due) -> Option<Timestamp> {
        let minutes = |minutes: i64| SignedDuration::from_mins(minutes);
        match due {
            Due::AutoStop if sandbox.state == SandboxState::Started && sandbox.auto_stop_interval > 0 => {
                let used = self.live(sandbox.id).map_or(sandbox.last_activity_at, |live| live.activity.last());
                used.max(sandbox.state_changed_at).checked_add(minutes(sandbox.auto_stop_interval.into())).ok()
            }
            Due::AutoDelete if sandbox.state == SandboxState::Stopped && sandbox.auto_delete_interval >= 0 => {
                sandbox.state_changed_at.checked_add(minutes(sandbox.auto_delete_interval.into())).ok()
            }
            Due::Ttl if sandbox.state != SandboxState::Destroying => sandbox.auto_destroy_at,
            _ => None,
        }
    }

    /// A timer ran out; the sandbox may have changed since it was set.
    pub(crate) async fn on_due(&self, id: SandboxId, due: Due) -> Result<(), Error> {
        let Some(sandbox) = self.parts.store.sandboxes().get(id).await? else { return Ok(()) };
        let Some(at) = self.due_at(&sandbox, due) else { return Ok(()) };
        if at > now() {
            self.parts.timers.set(id, due, Some(at));
            return Ok(());
        }
        tracing::info!(sandbox_id = %id, ?due, "sandbox timer is due");
        match due {
            Due::AutoStop if self.live(id).is_some_and(|live| live.is_busy()) => {
                let later = now().checked_add(SignedDuration::from_mins(sandbox.auto_stop_interval.into())).ok();
                self.parts.timers.set(id, due, later);
            }
            Due::AutoStop => {
                self.stop_to_the_end(id, StopMode::Graceful, None).await?;
            }
            Due::AutoDelete | Due::Ttl => {
                self.destroy(id).await?;
            }
        }
        Ok(())
    }

    /// The runner saw something.
    pub(crate) async fn on_observation(&self, observation: Observation) -> Result<(), Error> {
        match observation {
            Observation::Exited { id, reason, cause } => self.on_exit(id, reason, cause).await,
            Observation::OutOfMemory { id } => self.on_out_of_memory(id).await,
        }
    }

    async fn on_exit(&self, id: SandboxId, reason: String, cause: ExitCause) -> Result<(), Error> {
        let Ok(turn) = self.turn(id).await else { return Ok(()) };
        // It may be old news: of a life before a stop and a start that came first.
        if turn.sandbox.state != SandboxState::Started || self.parts.runner.connect(id).await.is_ok() {
            return Ok(());
        }
        point(Point::ExitObserved);
        let reason = Some(reason).filter(|reason| !reason.is_empty());
        // One that only lives as long as it runs is deleted once it is stopped, whatever ended it.
        let ephemeral = turn.sandbox.auto_delete_interval == 0;
        let to = match cause {
            ExitCause::OutOfMemory if !ephemeral => SandboxState::Error,
            ExitCause::OutOfMemory | ExitCause::Other => SandboxState::Stopped,
        };
        self.enter(&turn.sandbox, Action::Stop, to, reason).await?;
        Ok(())
    }

    /// Nothing changes: whoever ran the command that was killed learns it from its result.
    async fn on_out_of_memory(&self, id: SandboxId) -> Result<(), Error> {
        let Some(sandbox) = self.parts.store.sandboxes().get(id).await? else { return Ok(()) };
        tracing::info!(sandbox_id = %id, memory_gib = sandbox.resources.memory, "sandbox ran out of memory");
        self.publish(&sandbox, EventKind::OutOfMemory);
        Ok(())
    }
}
