//! Watches the room that disks have, and acts before it is gone.
//!
//! | level | when less is left than | what happens |
//! |---|---|---|
//! | ample | | |
//! | low | one and a half times the reserve | nothing is created or started |
//! | full | the reserve | running sandboxes get `ENOSPC` for what needs new room |
//!
//! What is left is what is free, less what sandboxes were promised and have not written yet. The next look comes before
//! the rest could be written at full speed, so there are none to speak of while there is plenty. Each look also lets the
//! pool grow when the file system it lies on has (it is sparse, so that is all the room there ever is), and gives back below it
//! what was deleted, when that is much or little is left.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::time::{Duration, Instant};

use sebring_runtime::disk::{Disks, Room, Usage};
use sebring_types::RunnerError;

use crate::runner::Inner;

const MIB: u64 = 1 << 20;
/// The least and the most that is kept for what was accepted already, for the database and for records.
const RESERVE: (u64, u64) = (192 * MIB, 2048 * MIB);
/// Bytes per second: faster than disks write, and than one sandbox fills memory.
const SPEED: u64 = 4 << 30;
const LOOKS: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(10));
/// What a disk may take beyond its use before that is worth asking for back.
const WORTH_A_TRIM: u64 = 32 * MIB;
/// And the pool, beyond what it took after the last time.
const WORTH_A_TRIM_OF_ALL: u64 = 256 * MIB;
/// After a growth of the pool that failed.
const BEFORE_GROWTH_AGAIN: Duration = Duration::from_secs(60);
/// While little is left: how long what was deleted may take to become free.
const LONGEST_IF_LOW: Duration = Duration::from_secs(1);

/// How full it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Ample,
    Low,
    Full,
}

/// What one look found.
#[derive(Debug, Clone, Copy)]
struct Look {
    left: u64,
    size: u64,
}

impl Look {
    fn reserve(self) -> u64 {
        (self.size / 32).clamp(RESERVE.0, RESERVE.1)
    }

    fn level(self) -> Level {
        match self.left {
            left if left < self.reserve() => Level::Full,
            left if left < self.reserve() * 3 / 2 => Level::Low,
            _ => Level::Ample,
        }
    }

    /// When to look again.
    fn pause(self) -> Duration {
        let spare = Duration::from_millis(self.left.saturating_sub(self.reserve()) * 1000 / SPEED);
        let longest = if self.level() == Level::Ample { LOOKS.1 } else { LONGEST_IF_LOW };
        spare.clamp(LOOKS.0, longest)
    }
}

/// Refuses what needs room when little is left.
pub(crate) fn admit(disks: &Disks) -> Result<(), RunnerError> {
    // Should the host not tell, the disk itself will.
    let Ok(Room { free, size }) = disks.room() else { return Ok(()) };
    match (Look { left: free, size }).level() {
        Level::Ample => Ok(()),
        Level::Low | Level::Full => Err(RunnerError::Exhausted(format!(
            "the runner's disk is nearly full, {} MiB of {} MiB are free: delete sandboxes, or free space on the disk of \
             its data directory",
            free / MIB,
            size / MIB
        ))),
    }
}

/// Wakes the watcher before its time.
#[derive(Debug)]
pub(crate) struct Waker {
    sender: mpsc::Sender<()>,
    /// Whether it watches that little is left; there is time otherwise.
    short: Arc<AtomicBool>,
}

impl Waker {
    /// Something was deleted.
    pub fn wake(&self) {
        if self.short.load(Ordering::Acquire) {
            // Nobody watches any more while the server ends.
            let _ = self.sender.send(());
        }
    }
}

/// What the watcher is told by.
pub(crate) struct Woken {
    receiver: mpsc::Receiver<()>,
    short: Arc<AtomicBool>,
}

pub(crate) fn waker() -> (Waker, Woken) {
    let (sender, receiver) = mpsc::channel();
    let short = Arc::new(AtomicBool::new(false));
    (Waker { sender, short: short.clone() }, Woken { receiver, short })
}

/// Starts to watch on a thread of its own, which ends with the runner.
pub(crate) fn watch(runner: &Arc<Inner>, woken: Woken) {
    let mut watcher =
        Watcher { runner: Arc::downgrade(runner), level: Level::Ample, trimmed: None, slack: None, outgrown: None };
    let spawned = std::thread::Builder::new().name("space".into()).spawn(move || {
        while let Some(pause) = watcher.look() {
            woken.short.store(watcher.level != Level::Ample, Ordering::Release);
            if woken.receiver.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Disconnected) {
                return;
            }
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "no thread to watch free space on: a full disk will damage sandboxes' files");
    }
}

struct Watcher {
    runner: Weak<Inner>,
    level: Level,
    /// When room was last asked back from sandboxes.
    trimmed: Option<Instant>,
    /// What the pool took too much after that.
    slack: Option<i64>,
    /// When the pool last failed to grow.
    outgrown: Option<Instant>,
}

/// A running sandbox's disk.
struct Running {
    name: String,
    device: u32,
    /// None: it ended meanwhile, and owes nothing any more.
    usage: Option<Usage>,
}

impl Watcher {
    /// Looks, acts, and says when to look again; none when the runner is gone.
    fn look(&mut self) -> Option<Duration> {
        let runner = self.runner.upgrade()?;
        let disks = &runner.host.disks;
        self.follow(disks);
        let running = running(&runner);
        let found = match found(disks, &running) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "free space of the disks unknown");
                return Some(LOOKS.1);
            }
        };
        let (before, level) = (self.level, found.level());
        self.level = level;
        let (left_mib, size_mib) = (found.left / MIB, found.size / MIB);
        match level {
            _ if level == before => {}
            Level::Full => tracing::error!(left_mib, size_mib, "disk full: sandboxes can't write more"),
            Level::Low => tracing::warn!(left_mib, size_mib, "disk nearly full: no sandbox is created or started"),
            Level::Ample => tracing::info!(left_mib, size_mib, "there is room on the disk again"),
        }
        // Sandboxes come and go while it is full; those that were closed must be opened once.
        if disks.can_close() && (level == Level::Full || before == Level::Full) {
            for Running { name, device, .. } in &running {
                if let Err(error) = disks.set_closed(name, *device, level == Level::Full) {
                    tracing::warn!(sandbox_id = name, %error, "the disk of a sandbox is not told how full it is");
                }
            }
        }
        if level != Level::Ample && self.trimmed.is_none_or(|at| at.elapsed() >= LONGEST_IF_LOW) {
            ask_back(disks, &running);
            self.settle(disks);
        } else if self.is_worth_it(disks) {
            self.settle(disks);
        }
        Some(found.pause())
    }

    /// Whether much was deleted since the last time.
    fn is_worth_it(&self, disks: &Disks) -> bool {
        let Ok(Some(slack)) = disks.slack() else { return false };
        self.slack.is_none_or(|before| slack - before >= WORTH_A_TRIM_OF_ALL as i64)
    }

    fn settle(&mut self, disks: &Disks) {
        self.trimmed = Some(Instant::now());
        if let Err(error) = disks.settle() {
            tracing::warn!(%error, "deleted disks may keep their room for a while");
        }
        self.slack = disks.slack().ok().flatten();
    }

    /// Takes the room that was added below the pool.
    fn follow(&mut self, disks: &Disks) {
        if self.outgrown.is_some_and(|at| at.elapsed() < BEFORE_GROWTH_AGAIN) {
            return;
        }
        self.outgrown = None;
        if let Err(error) = disks.follow() {
            tracing::warn!(%error, "the disk pool stays smaller than the file system it lies on");
            self.outgrown = Some(Instant::now());
        }
    }
}

/// What was deleted in sandboxes becomes free in the pool.
fn ask_back(disks: &Disks, running: &[Running]) {
    for Running { name, device, usage } in running {
        if usage.is_some_and(|usage| usage.taken > usage.promised + WORTH_A_TRIM)
            && let Err(error) = disks.trim(name, *device)
        {
            tracing::warn!(sandbox_id = name, %error, "what the sandbox deleted keeps its room");
        }
    }
}

fn found(disks: &Disks, running: &[Running]) -> std::io::Result<Look> {
    let Room { free, size } = disks.room()?;
    let usages = running.iter().filter_map(|one| one.usage);
    let owed: u64 = usages.map(|usage| usage.promised.saturating_sub(usage.taken)).sum();
    Ok(Look { left: free.saturating_sub(owed), size })
}

fn running(runner: &Inner) -> Vec<Running> {
    let all = runner.all().into_iter();
    all.filter_map(|sandbox| {
        let live = sandbox.live()?;
        let (name, device) = (sandbox.id.to_string(), live.loop_device?);
        let seen = PathBuf::from(format!("/proc/{}/root", live.pid()));
        Some(Running { usage: runner.host.disks.usage(&name, &seen).ok(), name, device })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_disks_keep_relatively_more() {
        let at = |left, size| Look { left: left * MIB, size: size * MIB };
        assert_eq!(at(300, 2048).level(), Level::Ample);
        assert_eq!(at(280, 2048).level(), Level::Low);
        assert_eq!(at(190, 2048).level(), Level::Full);
        assert_eq!(at(4000, 250_000).level(), Level::Ample);
        assert_eq!(at(2000, 250_000).level(), Level::Full);
    }

    #[test]
    fn looks_before_the_rest_can_be_written() {
        let pause = |left| (Look { left: left * MIB, size: 250_000 * MIB }).pause();
        assert_eq!(pause(200_000), LOOKS.1);
        assert_eq!(pause(2048 + 4096), Duration::from_secs(1));
        assert_eq!(pause(100), LOOKS.0);
    }
}
