//! Places of connections.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::task::AtomicWaker;
use rustix::process::{Resource, getrlimit};
use tokio::time::Instant;

use super::{IDLE, STRANGER};

/// Strangers at most, where there are descriptors for more.
const STRANGERS: usize = 4096;
/// Where there are hardly any.
const FEWEST: usize = 32;

/// Of the descriptors, an eighth is for strangers.
pub(super) fn share() -> usize {
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    limit.map_or(STRANGERS, |limit| (limit / 8).clamp(FEWEST, STRANGERS))
}

/// All of them; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Seats {
    strangers: Arc<Mutex<Strangers>>,
}

#[derive(Debug)]
struct Strangers {
    /// How many there may be.
    share: usize,
    count: usize,
    /// By address, the oldest first.
    of: HashMap<IpAddr, BTreeMap<u64, Arc<Seat>>>,
    next: u64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Seat {
    address: IpAddr,
    number: u64,
    seats: Seats,
    known: AtomicBool,
    /// Requests under way.
    in_use: AtomicUsize,
    idle_since: Mutex<Instant>,
    leaving: AtomicBool,
    /// A body was not read to its end.
    unread: AtomicBool,
    reader: AtomicWaker,
}

impl Seats {
    pub fn new(share: usize) -> Self {
        let strangers = Strangers { share, count: 0, of: HashMap::new(), next: 0 };
        Self { strangers: Arc::new(Mutex::new(strangers)) }
    }

    /// A seat for a stranger; for want of room another one's.
    pub fn take(&self, address: IpAddr) -> Arc<Seat> {
        let address = sebring_auth::network(address);
        let mut strangers = self.lock();
        let of_address = strangers.of.get(&address).map_or(0, BTreeMap::len);
        if of_address >= strangers.share.div_ceil(2) {
            strangers.send_off(address);
        } else if strangers.count >= strangers.share {
            strangers.make_room();
        }
        let number = strangers.next;
        strangers.next += 1;
        let seat = Arc::new(Seat {
            address,
            number,
            seats: self.clone(),
            known: AtomicBool::new(false),
            in_use: AtomicUsize::new(0),
            idle_since: Mutex::new(Instant::now()),
            leaving: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            reader: AtomicWaker::new(),
        });
        strangers.of.entry(address).or_default().insert(number, Arc::clone(&seat));
        strangers.count += 1;
        seat
    }

    /// Sends a stranger off.
    pub fn make_room(&self) {
        self.lock().make_room();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Strangers> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Strangers {
    /// One goes of the address that has most.
    fn make_room(&mut self) {
        let most = self.of.iter().max_by_key(|(_, seats)| seats.len()).map(|(address, _)| *address);
        if let Some(address) = most {
            self.send_off(address);
        }
    }

    /// The one of an address that had longest to show a key goes.
    fn send_off(&mut self, address: IpAddr) {
        let oldest = self.of.get(&address).and_then(BTreeMap::first_key_value).map(|(number, _)| *number);
        if let Some(seat) = oldest.and_then(|number| self.remove(address, number)) {
            seat.leave();
        }
    }

    fn remove(&mut self, address: IpAddr, number: u64) -> Option<Arc<Seat>> {
        let seats = self.of.get_mut(&address)?;
        let seat = seats.remove(&number)?;
        if seats.is_empty() {
            self.of.remove(&address);
        }
        self.count -= 1;
        Some(seat)
    }
}

impl Seat {
    /// Its client is known from now on.
    pub fn welcome(&self) {
        if !self.known.swap(true, Ordering::AcqRel) {
            self.give_back();
        }
    }

    /// It is no stranger's any more.
    pub fn give_back(&self) {
        let removed = self.seats.lock().remove(self.address, self.number);
        // Not while the lock is held: it may be the last one, and so drops what it holds.
        drop(removed);
    }

    /// A request has come; it is under way until the answer is dropped.
    pub fn begin(self: &Arc<Self>) -> InUse {
        self.in_use.fetch_add(1, Ordering::AcqRel);
        InUse(Arc::clone(self))
    }

    /// When its connection is to be closed, as things are.
    pub fn deadline(&self) -> Instant {
        let since = *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.known.load(Ordering::Acquire), self.in_use.load(Ordering::Acquire)) {
            (false, _) => since + STRANGER,
            (true, 0) => since + IDLE,
            (true, _) => Instant::now() + IDLE,
        }
    }

    /// Notes that the connection can't be used for another request.
    pub fn leave_unread(&self) {
        self.unread.store(true, Ordering::Release);
    }

    pub fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Acquire)
    }

    fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
        self.reader.wake();
    }

    /// Whether the connection must end; if not, whoever reads is woken when it must.
    pub fn is_leaving(&self, context: &std::task::Context<'_>) -> bool {
        self.reader.register(context.waker());
        self.leaving.load(Ordering::Acquire)
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct InUse(Arc<Seat>);

impl Drop for InUse {
    fn drop(&mut self) {
        *self.0.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.in_use.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    fn left(seat: &Seat) -> bool {
        seat.leaving.load(Ordering::Acquire)
    }

    #[test]
    fn the_oldest_of_an_address_goes_for_its_next() {
        let seats = Seats::new(8);
        let other = seats.take(address(1));
        let many: Vec<_> = (0..10).map(|_| seats.take(address(2))).collect();
        let gone: Vec<_> = many.iter().map(|seat| left(seat)).collect();
        assert_eq!(gone, [true, true, true, true, true, true, false, false, false, false]);
        assert!(!left(&other));
        assert_eq!(seats.lock().count, 5);
    }

    #[test]
    fn the_address_with_most_makes_room_for_others() {
        let seats = Seats::new(8);
        let four: Vec<_> = (0..4).map(|_| seats.take(address(1))).collect();
        let others: Vec<_> = (2..8).map(|number| seats.take(address(number))).collect();
        assert_eq!(four.iter().filter(|seat| left(seat)).count(), 2);
        assert!(!others.iter().any(|seat| left(seat)));
    }

    #[test]
    fn who_is_known_takes_no_room_and_stays() {
        let seats = Seats::new(8);
        let known: Vec<_> = (0..1000).map(|_| seats.take(address(1))).inspect(|seat| seat.welcome()).collect();
        let _strangers: Vec<_> = (0..100).map(|_| seats.take(address(1))).collect();
        assert!(!known.iter().any(|seat| left(seat)));
        assert_eq!(seats.lock().count, 4);
        known.iter().for_each(|seat| seat.give_back());
        assert_eq!(seats.lock().count, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_have_a_time_for_each_request_and_known_ones_for_idleness() {
        let seat = Seats::new(8).take(address(1));
        let began = Instant::now();
        assert_eq!(seat.deadline(), began + STRANGER);
        tokio::time::advance(STRANGER / 2).await;
        drop(seat.begin());
        assert_eq!(seat.deadline(), began + STRANGER / 2 + STRANGER);
        let used = seat.begin();
        seat.welcome();
        tokio::time::advance(10 * IDLE).await;
        assert!(seat.deadline() > Instant::now());
        drop(used);
        assert_eq!(seat.deadline(), Instant::now() + IDLE);
    }
}
