//! Both directions of a connection that changed its protocol.

use std::pin::pin;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sebring_lifecycle::Busy;
use sebring_types::SandboxId;
use tokio::io::{self, AsyncRead, AsyncWrite, AsyncWriteExt, split};
use tokio::time::timeout;

/// How long one side may go on after the other has closed.
const FAREWELL: Duration = Duration::from_secs(10);

/// Passes bytes on in the background until one side closed and the other had time to; the sandbox is in use meanwhile.
pub(crate) fn join(id: SandboxId, client: OnUpgrade, agent: OnUpgrade, busy: Option<Busy>) {
    tokio::spawn(async move {
        let _busy = busy;
        let joined = async {
            let (client, agent) = tokio::try_join!(client, agent)?;
            let (from_client, to_client) = split(TokioIo::new(client));
            let (from_agent, to_agent) = split(TokioIo::new(agent));
            let (mut up, mut down) = (pin!(pass(from_client, to_agent)), pin!(pass(from_agent, to_client)));
            let other = tokio::select! {
                passed = &mut up => passed.map(|()| down as Pin<&mut (dyn Future<Output = _> + Send)>),
                passed = &mut down => passed.map(|()| up as _),
            };
            // Too late is no error: it had its time.
            timeout(FAREWELL, other?).await.unwrap_or(Ok(()))?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        };
        if let Err(error) = joined.await {
            tracing::debug!(sandbox_id = %id, %error, "an upgraded connection ended");
        }
    });
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}
