//! Waits until the network of an ended sandbox is gone, before its address is another's.
//!
//! The kernel takes a network namespace apart shortly after its last process has ended, for many at once, and says so to nobody.
//! What it does not take apart by itself is helped along.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use sebring_runtime::{departure, link};
use sebring_types::RunnerError;

use crate::boot::refine;
use crate::starts::blocking;

/// Between the first two looks, each later time twice that.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// After that pause, some ten milliseconds in all, sockets don't end by themselves.
const GRACE: Duration = Duration::from_millis(8);
/// After that pause, half a second in all, something holds the namespace.
const PATIENCE: Duration = Duration::from_millis(256);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Returns when no interface has that name. `network` is the namespace, whose last process has ended, if it is known.
pub(crate) async fn see_off(network: Option<OwnedFd>, interface: &str) {
    if let Some(network) = network
        && let Err(error) = release(Arc::new(network)).await
    {
        tracing::warn!(interface, %error, "packets or connections of an ended sandbox may stay for a while");
    }
    let mut pause = FIRST_PAUSE;
    while link::exists(interface) {
        if pause > PATIENCE {
            let name = interface.to_owned();
            let removed = blocking("removal of an interface", move || Ok(link::remove(&name))).await;
            tracing::warn!(interface, ?removed, "the network of an ended sandbox was held by something, and removed");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Lets go of the namespace, and makes sockets that would keep it do so.
async fn release(network: Arc<OwnedFd>) -> Result<(), RunnerError> {
    let mut pause = FIRST_PAUSE;
    while sockets(network.clone()).await? > 0 {
        if pause > GRACE {
            return blocking("end of a network", move || departure::clear(network.as_fd()).map_err(refine)).await;
        }
        // The kernel frees some a little after they were closed.
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Ok(())
}

async fn sockets(network: Arc<OwnedFd>) -> Result<u64, RunnerError> {
    blocking("look at a network", move || departure::sockets(network.as_fd()).map_err(refine)).await
}
