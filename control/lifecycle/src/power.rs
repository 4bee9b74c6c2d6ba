//! Start and stop.

use sebring_fault::{Point, point};
use sebring_store::Sandbox;
use sebring_types::runner::StopMode;
use sebring_types::{OrganizationId, SandboxId, SandboxState};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::machine::{Step, step};
use crate::{Action, Error, Lifecycle};

impl Lifecycle {
    /// Starts a stopped sandbox and waits until it can be used.
    pub async fn start_sandbox(&self, organization: OrganizationId, id_or_name: &str) -> Result<Sandbox, Error> {
        let id = self.get(organization, id_or_name).await?.id;
        let lifecycle = self.clone();
        self.detached(async move { lifecycle.start_to_the_end(id).await }).await
    }

    async fn start_to_the_end(&self, id: SandboxId) -> Result<Sandbox, Error> {
        let turn = self.turn(id).await?;
        let state = turn.sandbox.state;
        let starting = match step(state, Action::Start) {
            Step::Already => return Ok(turn.sandbox),
            Step::Refuse => return Err(Error::WrongState { action: Action::Start, state }),
            Step::Enter(to) => self.enter(&turn.sandbox, Action::Start, to, None).await?,
        };
        point(Point::StartMarked);
        match self.ask(Action::Start, |runner| async move { runner.start(id).await }).await {
            Ok(()) => {
                point(Point::StartMade);
                if let Some(live) = self.live(id) {
                    live.activity.touch();
                }
                self.enter(&starting, Action::Start, SandboxState::Started, None).await
            }
            Err(error) => {
                tracing::warn!(sandbox_id = %id, %error, "sandbox could not be started");
                // A runner that answered left it stopped; of one that did not, nothing is known.
                let silent = matches!(error, Error::TooSlow { .. });
                let to = if silent { SandboxState::Error } else { SandboxState::Stopped };
                self.enter(&starting, Action::Start, to, Some(error.to_string())).await?;
                Err(error)
            }
        }
    }

    /// Stops a sandbox: begins at once, and answers with `stopped` or, when that takes a while, `stopping`.
    pub async fn stop_sandbox(
        &self,
        organization: OrganizationId,
        id_or_name: &str,
        mode: StopMode,
    ) -> Result<Sandbox, Error> {
        let id = self.get(organization, id_or_name).await?.id;
        let (begun, has_begun) = oneshot::channel();
        let lifecycle = self.clone();
        let end = self.detached(async move { lifecycle.stop_to_the_end(id, mode, Some(begun)).await });
        tokio::pin!(end);
        let stopping = tokio::select! {
            biased;
            result = &mut end => return result,
            Ok(stopping) = has_begun => stopping,
        };
        timeout(self.parts.config.stop_answer, end).await.unwrap_or(Ok(stopping))
    }

    pub(crate) async fn stop_to_the_end(
        &self,
        id: SandboxId,
        mode: StopMode,
        begun: Option<oneshot::Sender<Sandbox>>,
    ) -> Result<Sandbox, Error> {
        let turn = self.turn(id).await?;
        let state = turn.sandbox.state;
        let stopping = match step(state, Action::Stop) {
            Step::Already => return Ok(turn.sandbox),
            Step::Refuse => return Err(Error::WrongState { action: Action::Stop, state }),
            Step::Enter(to) => self.enter(&turn.sandbox, Action::Stop, to, None).await?,
        };
        point(Point::StopMarked);
        if let Some(begun) = begun {
            // Nobody waits for a stop that a timer began or whose client hung up.
            let _ = begun.send(stopping.clone());
        }
        self.finish_stop(&stopping, mode).await
    }

    /// The second half of a stop: from `stopping` on.
    pub(crate) async fn finish_stop(&self, stopping: &Sandbox, mode: StopMode) -> Result<Sandbox, Error> {
        let id = stopping.id;
        match self.ask(Action::Stop, |runner| async move { runner.stop(id, mode).await }).await {
            Ok(()) => {
                point(Point::StopDone);
                self.enter(stopping, Action::Stop, SandboxState::Stopped, None).await
            }
            Err(error) => {
                tracing::warn!(sandbox_id = %id, %error, "sandbox could not be stopped");
                self.enter(stopping, Action::Stop, SandboxState::Error, Some(error.to_string())).await?;
                Err(error)
            }
        }
    }
}
