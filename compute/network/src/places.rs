//! Places for work that sandboxes ask of this server, shared so that none keeps the others from having some.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who has so few of the places, compared to what one may have, gets more even while most are taken.
const MODEST: usize = 8;

/// So many in all, and so many for each address. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    total: usize,
    each: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    count: usize,
    by: HashMap<Ipv4Addr, usize>,
}

impl Places {
    pub fn new(total: usize, each: usize) -> Self {
        Self(Arc::new(Shared { total, each: each.min(total), taken: Mutex::default() }))
    }

    /// One for this address, unless it has too many: an eighth as soon as half of all are taken.
    pub fn take(&self, address: Ipv4Addr) -> Option<Place> {
        let Shared { total, each, .. } = *self.0;
        let mut taken = self.0.lock();
        let most = if taken.count < total / 2 { each } else { each.div_ceil(MODEST) };
        let has = taken.by.get(&address).copied().unwrap_or_default();
        if taken.count >= total || has >= most {
            return None;
        }
        taken.by.insert(address, has + 1);
        taken.count += 1;
        Some(Place { shared: self.0.clone(), address })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    address: Ipv4Addr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.shared.lock();
        taken.count -= 1;
        if let Some(has) = taken.by.get_mut(&self.address) {
            *has -= 1;
            if *has == 0 {
                taken.by.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREEDY: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 16);
    const MODEST: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 17);

    #[test]
    fn nobody_takes_all() {
        let places = Places::new(64, 16);
        let mut held: Vec<Place> = (0..20).map_while(|_| places.take(GREEDY)).collect();
        assert_eq!(held.len(), 16);
        held.pop();
        assert!(places.take(GREEDY).is_some(), "given back");
        // Others have taken half of all.
        held.extend((20..40).flat_map(|n| places.take(Ipv4Addr::new(10, 200, 0, n))));
        assert!(places.take(GREEDY).is_none());
        let few: Vec<Place> = (0..3).map_while(|_| places.take(MODEST)).collect();
        assert_eq!(few.len(), 2);
        drop((held, few));
        let taken = places.0.lock();
        assert!(taken.count == 0 && taken.by.is_empty());
    }

    #[test]
    fn all_may_be_taken() {
        let places = Places::new(4, 8);
        let held: Vec<Place> = (0..8).filter_map(|n| places.take(Ipv4Addr::new(10, 200, 0, n))).collect();
        assert_eq!(held.len(), 4);
    }
}
