//! When a sandbox was last used.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Kept in memory and written down at most this often, milliseconds: a crash loses no more than this.
const NOTE_EVERY: i64 = 60_000;

/// The last use, and when it was last written down; milliseconds since 1970.
#[derive(Debug)]
pub(crate) struct Activity {
    last: AtomicI64,
    noted: AtomicI64,
}

impl Activity {
    pub fn new(last: Timestamp) -> Self {
        let last = last.as_millisecond();
        Self { last: AtomicI64::new(last), noted: AtomicI64::new(last) }
    }

    pub fn touch(&self) {
        self.last.fetch_max(sebring_store::now().as_millisecond(), Ordering::Relaxed);
    }

    pub fn last(&self) -> Timestamp {
        Timestamp::from_millisecond(self.last.load(Ordering::Relaxed)).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The last use, if it is time to write it down; true for one caller.
    pub fn to_note(&self) -> Option<Timestamp> {
        let (last, noted) = (self.last.load(Ordering::Relaxed), self.noted.load(Ordering::Relaxed));
        let mine = last >= noted + NOTE_EVERY
            && self.noted.compare_exchange(noted, last, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        mine.then(|| self.last())
    }

    /// The last use, if it is not written down yet.
    pub fn unnoted(&self) -> Option<Timestamp> {
        let last = self.last.load(Ordering::Relaxed);
        (self.noted.swap(last, Ordering::Relaxed) < last).then(|| self.last())
    }
}
