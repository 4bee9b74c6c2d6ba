//! Calls of the runner, each with an end.

use std::future::Future;
use std::sync::Arc;

use sebring_types::{Runner, RunnerError};
use tokio::time::timeout;

use crate::{Action, Error, Lifecycle};

impl Lifecycle {
    /// Waits for `call`, at most until the deadline of `action`. It is a task of its own: it goes on when nobody
    /// waits any more, and should it panic, that is one more way to fail.
    pub(crate) async fn ask<F>(&self, action: Action, call: impl FnOnce(Arc<dyn Runner>) -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), RunnerError>> + Send + 'static,
    {
        let deadlines = &self.parts.config.deadlines;
        let limit = match action {
            Action::Create => deadlines.create,
            Action::Start | Action::Confine | Action::Resize => deadlines.start,
            Action::Stop => deadlines.stop,
            Action::Destroy => deadlines.destroy,
        };
        let asked = tokio::spawn(call(Arc::clone(&self.parts.runner)));
        match timeout(limit, asked).await {
            Ok(Ok(result)) => result.map_err(Error::from_runner),
            Ok(Err(panic)) => Err(Error::Runner(panic.to_string())),
            Err(_) => Err(Error::TooSlow { action, limit }),
        }
    }
}
