//! Sandboxes that are gone, for the seconds in which former clients look at what they deleted.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sebring_store::Sandbox;
use sebring_types::{OrganizationId, SandboxId};

/// How long one is remembered.
const REMEMBERED: Duration = Duration::from_secs(10);
/// How many are remembered; further ones push the oldest out.
const MOST: usize = 1024;

/// The last ones, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Departed {
    last: Mutex<VecDeque<(Instant, Sandbox)>>,
}

impl Departed {
    pub fn note(&self, sandbox: Sandbox) {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        while last.len() >= MOST || last.front().is_some_and(|(since, _)| now - *since >= REMEMBERED) {
            last.pop_front();
        }
        last.push_back((now, sandbox));
    }

    pub fn find(&self, organization: OrganizationId, id: SandboxId) -> Option<Sandbox> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = last.iter().rev().take_while(|(since, _)| since.elapsed() < REMEMBERED);
        let mut own = lately.map(|(_, sandbox)| sandbox).filter(|sandbox| sandbox.organization == organization);
        own.find(|sandbox| sandbox.id == id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn remembers_the_last_ones_of_each_owner() {
        let sandbox = sebring_testing::Rig::new().await.sandbox().await;
        let departed = Departed::default();
        departed.note(sandbox.clone());
        assert_eq!(departed.find(sandbox.organization, sandbox.id).as_ref(), Some(&sandbox));
        assert_eq!(departed.find(OrganizationId::generate(), sandbox.id), None);
        for _ in 0..MOST {
            departed.note(Sandbox { id: SandboxId::generate(), ..sandbox.clone() });
        }
        assert_eq!(departed.find(sandbox.organization, sandbox.id), None);
        assert_eq!(departed.last.lock().expect("whole").len(), MOST);
    }
}
