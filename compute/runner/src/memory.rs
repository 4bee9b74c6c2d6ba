//! Sandboxes that run out of memory: noticed when the kernel says so, and reported.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sebring_types::SandboxId;
use sebring_types::runner::Observation;

use crate::boot::cgroup_name;
use crate::runner::Inner;
use crate::sandbox::Live;

/// After a report: a sandbox that runs out again and again is reported once in this time.
const REST: Duration = Duration::from_secs(1);
/// After other news, which come in numbers while a sandbox is at its limit (v2).
const SHORT_REST: Duration = Duration::from_millis(20);

impl Inner {
    /// Reports each time that the sandbox runs out of memory, until its agent ends.
    pub(crate) async fn watch_memory(self: Arc<Self>, id: SandboxId, live: Arc<Live>) {
        let mut watch = match self.host.cgroups.at(&cgroup_name(id, live.slot)).watch_memory() {
            Ok(watch) => watch,
            // It has ended already, with its cgroup.
            Err(_) if live.has_ended() => return,
            Err(error) => return tracing::warn!(sandbox_id = %id, %error, "lack of memory will not be reported"),
        };
        let mut ended = pin!(live.ended());
        loop {
            let news = tokio::select! {
                biased;
                () = &mut ended => return,
                news = watch.next() => news,
            };
            let rest = match news {
                Ok(true) => {
                    // Nobody listens while the server shuts down.
                    let _ = self.report.send(Observation::OutOfMemory { id });
                    REST
                }
                Ok(false) => SHORT_REST,
                // The cgroup is gone: so is the agent.
                Err(_) => return,
            };
            tokio::select! {
                () = &mut ended => return,
                () = tokio::time::sleep(rest) => {}
            }
        }
    }
}
