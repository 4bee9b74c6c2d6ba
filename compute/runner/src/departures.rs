//! Waits until the network of an ended sandbox is gone, before its address is another's.
//!
//! The kernel takes a network namespace apart shortly after its last process has ended, for many at once, and tells when an
//! interface is gone. What it does not take apart by itself is helped along.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sebring_runtime::removals::{Removal, Removals};
use sebring_runtime::{Context, RuntimeError, departure, link};
use sebring_types::RunnerError;
use tokio::sync::oneshot;

use crate::boot::refine;
use crate::starts::blocking;

/// Between the first two looks for sockets, each later time twice that.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// After that pause, some ten milliseconds in all, sockets don't end by themselves.
const GRACE: Duration = Duration::from_millis(8);
/// After that time something holds the namespace.
const PATIENCE: Duration = Duration::from_millis(512);
/// From one attempt to remove an interface to the next, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

#[derive(Debug)]
pub(crate) struct Departures {
    /// The host's network.
    host: OwnedFd,
    /// Those who wait for the end of an interface, by its name.
    waiting: Mutex<HashMap<String, oneshot::Sender<()>>>,
}

impl Departures {
    /// Listens to the kernel from now on. Needs a Tokio runtime.
    pub fn watch() -> Result<Arc<Self>, RuntimeError> {
        let removals = Removals::open().step("news of the host's interfaces")?;
        let departures = Arc::new(Self { host: departure::host()?, waiting: Mutex::default() });
        tokio::spawn(departures.clone().listen(removals));
        Ok(departures)
    }

    async fn listen(self: Arc<Self>, removals: Removals) {
        loop {
            match removals.next().await {
                Ok(news) => news.iter().for_each(|one| self.tell(one)),
                // Interfaces are looked for from time to time, too.
                Err(error) => return tracing::error!(%error, "the host does not tell when an interface is gone"),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, removal: &Removal) {
        let mut waiting = self.lock();
        match removal {
            Removal::Of(name) => drop(waiting.remove(name)),
            Removal::Missed => waiting.clear(),
        }
    }

    /// Is done when that interface goes, or may have gone.
    fn expect(&self, interface: &str) -> oneshot::Receiver<()> {
        let (sender, gone) = oneshot::channel();
        self.lock().insert(interface.to_owned(), sender);
        gone
    }

    /// Returns when no interface has that name. `network` is the namespace, whose last process has ended, if it is known.
    pub async fn see_off(self: &Arc<Self>, network: Option<OwnedFd>, interface: &str) {
        let mut gone = self.expect(interface);
        if let Some(network) = network
            && let Err(error) = self.release(network).await
        {
            tracing::warn!(interface, %error, "packets or connections of an ended sandbox may stay for a while");
        }
        let mut patience = PATIENCE;
        while link::exists(interface) {
            // Who tells drops the sender, which is all there is to receive.
            if tokio::time::timeout(patience, gone).await.is_err() && link::exists(interface) {
                let name = interface.to_owned();
                let removed = blocking("removal of an interface", move || Ok(link::remove(&name))).await;
                tracing::warn!(
                    interface,
                    ?removed,
                    "the network of an ended sandbox was held by something, and removed"
                );
                patience = (patience * 2).min(LONGEST_PAUSE);
            }
            gone = self.expect(interface);
        }
        self.lock().remove(interface);
    }

    /// Lets go of the namespace, and makes sockets that would keep it do so.
    async fn release(self: &Arc<Self>, network: OwnedFd) -> Result<(), RunnerError> {
        let mut pause = FIRST_PAUSE;
        // Takes microseconds, less than another thread would.
        while departure::sockets(network.as_fd(), self.host.as_fd()).map_err(refine)? > 0 {
            if pause > GRACE {
                let all = self.clone();
                let clear = move || departure::clear(network.as_fd(), all.host.as_fd()).map_err(refine);
                return blocking("end of a network", clear).await;
            }
            // The kernel frees some a little after they were closed.
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_hears_of_its_own_interface_and_when_news_were_missed() {
        let departures = Departures::watch().expect("news of interfaces");
        let (mut one, mut another) = (departures.expect("one"), departures.expect("another"));
        departures.tell(&Removal::Of("one".into()));
        departures.tell(&Removal::Of("a stranger".into()));
        assert_eq!(one.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(another.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        departures.tell(&Removal::Missed);
        assert_eq!(another.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }

    #[tokio::test]
    async fn an_interface_that_never_was_is_gone() {
        let departures = Departures::watch().expect("news of interfaces");
        departures.see_off(None, "sbtest-absent").await;
        assert!(departures.lock().is_empty());
    }
}
