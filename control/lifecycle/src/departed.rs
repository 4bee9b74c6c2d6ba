//! Sandboxes that are gone, for the seconds in which former clients look at what they deleted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sebring_store::Sandbox;
use sebring_types::{OrganizationId, SandboxId};

/// How long one is remembered.
const REMEMBERED: Duration = Duration::from_secs(10);
/// How many of one organization are remembered; further ones push its oldest out.
const MOST: usize = 256;

/// The last ones of each organization, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Departed {
    last: Mutex<HashMap<OrganizationId, VecDeque<(Instant, Sandbox)>>>,
}

impl Departed {
    /// Remembers it without what its owner put into it: secrets, and the larger part of its size.
    pub fn note(&self, mut sandbox: Sandbox) {
        (sandbox.env, sandbox.labels) = Default::default();
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|_, own| {
            while own.front().is_some_and(|(since, _)| now - *since >= REMEMBERED) {
                own.pop_front();
            }
            !own.is_empty()
        });
        let own = last.entry(sandbox.organization).or_default();
        if own.len() >= MOST {
            own.pop_front();
        }
        own.push_back((now, sandbox));
    }

    pub fn find(&self, organization: OrganizationId, id: SandboxId) -> Option<Sandbox> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = last.get(&organization)?.iter().rev().take_while(|(since, _)| since.elapsed() < REMEMBERED);
        lately.map(|(_, sandbox)| sandbox).find(|sandbox| sandbox.id == id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn remembers_the_last_ones_of_each_owner() {
        let sandbox = sebring_testing::Rig::new().await.sandbox().await;
        let departed = Departed::default();
        let secret = [("TOKEN".to_owned(), "secret".to_owned())];
        departed.note(Sandbox { env: secret.into_iter().collect(), ..sandbox.clone() });
        let found = departed.find(sandbox.organization, sandbox.id);
        assert_eq!(found, Some(Sandbox { env: Default::default(), labels: Default::default(), ..sandbox.clone() }));
        let other = OrganizationId::generate();
        assert_eq!(departed.find(other, sandbox.id), None);
        for _ in 0..MOST {
            departed.note(Sandbox { id: SandboxId::generate(), organization: other, ..sandbox.clone() });
        }
        assert!(departed.find(sandbox.organization, sandbox.id).is_some(), "others push out their own");
        for _ in 0..MOST {
            departed.note(Sandbox { id: SandboxId::generate(), ..sandbox.clone() });
        }
        assert_eq!(departed.find(sandbox.organization, sandbox.id), None);
        assert!(departed.last.lock().expect("whole").values().all(|own| own.len() == MOST));
    }
}
