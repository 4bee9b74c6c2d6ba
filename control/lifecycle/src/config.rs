//! What the lifecycle must be told.

use std::time::Duration;

/// Settings of the lifecycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The snapshot of sandboxes that name none.
    pub default_snapshot: String,
    /// The region of sandboxes that name none.
    pub default_target: String,
    pub deadlines: Deadlines,
    /// How long the answer to a stop may wait for the state `stopped`; afterwards it says `stopping`.
    pub stop_answer: Duration,
}

/// How long a runner may take. What takes longer has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlines {
    pub create: Duration,
    pub start: Duration,
    /// Longer than the grace period of a stop.
    pub stop: Duration,
    /// Of one attempt.
    pub destroy: Duration,
    /// The pauses between attempts to destroy; one attempt more than there are pauses.
    pub destroy_pauses: Vec<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            default_snapshot: "sebring".to_owned(),
            default_target: "local".to_owned(),
            deadlines: Deadlines::default(),
            stop_answer: Duration::from_millis(100),
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            create: seconds(60),
            start: seconds(60),
            stop: seconds(60),
            destroy: seconds(30),
            destroy_pauses: vec![seconds(1), seconds(5), seconds(25)],
        }
    }
}
