//! Instants as the database keeps them: whole milliseconds.

use jiff::Timestamp;

/// The current time, cut to the milliseconds that survive a round trip through the database.
pub fn now() -> Timestamp {
    from_millis(Timestamp::now().as_millisecond())
}

/// Out of range values become the epoch: only a damaged database holds them.
pub(crate) fn from_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}
