//! Both directions of a connection that changed its protocol.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sebring_lifecycle::Busy;
use sebring_types::SandboxId;
use tokio::io::copy_bidirectional;

/// Passes bytes on until both sides closed, in the background; the sandbox is in use meanwhile.
pub(crate) fn join(id: SandboxId, client: OnUpgrade, agent: OnUpgrade, busy: Option<Busy>) {
    tokio::spawn(async move {
        let _busy = busy;
        let joined = async {
            let (client, agent) = tokio::try_join!(client, agent)?;
            copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(agent)).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        };
        if let Err(error) = joined.await {
            tracing::debug!(sandbox_id = %id, %error, "an upgraded connection ended");
        }
    });
}
