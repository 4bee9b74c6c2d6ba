//! Descriptors of this process: each running sandbox takes some, and without any left no request is answered.

use std::fs::File;
use std::os::fd::AsRawFd;

use rustix::process::{Resource, getrlimit};
use sebring_types::RunnerError;

/// Kept for requests, the database, and starts that are under way.
const RESERVE: u64 = 96;

/// Refuses what needs more descriptors when few are left.
pub(crate) fn admit() -> Result<(), RunnerError> {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return Ok(()) };
    // The kernel gives the lowest number that is free, so that many are in use at least.
    match File::open("/dev/null") {
        Ok(lowest) if lowest.as_raw_fd() as u64 + RESERVE.min(limit / 2) <= limit => Ok(()),
        _ => Err(RunnerError::Exhausted(format!(
            "the runner has nearly all of the {limit} descriptors open that its process may have: stop or delete \
             sandboxes, or start it with a higher limit (`ulimit -n`, LimitNOFILE of systemd)"
        ))),
    }
}
