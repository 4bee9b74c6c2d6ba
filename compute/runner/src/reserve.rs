//! Keeps the host from running out of memory because of what no limit counts.
//!
//! A sandbox's limit counts what its processes use and most of what the kernel keeps for them; some of the kernel's own
//! bookkeeping and queues it does not ([`sebring_runtime::uncounted`]). While the host has memory to spare that is nobody's
//! business. When less is left than the reserve, what each sandbox holds uncounted is measured, and one that holds more than its
//! share is ended, with the reason. Memory within limits is never a reason: whoever gave more of it away than there is has to
//! expect the kernel's own choice.
//!
//! The next look comes before the rest could be taken at full speed, or when the kernel says that tasks wait for memory. Each look
//! reads one small file; measuring comes only with a reason, and takes a bounded share of the time.

use std::fs;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use sebring_runtime::pressure::Pressure;
use sebring_runtime::uncounted::{self, Held};

use crate::info;
use crate::runner::Inner;
use crate::sandbox::{Live, Sandbox};

const MIB: u64 = 1 << 20;
/// The part of the host's memory that is kept, unless the configuration says how much.
const PART: u64 = 16;
const BOUNDS: (u64, u64) = (256 * MIB, 2048 * MIB);
/// Bytes per second: faster than many sandboxes together fill queues of the kernel.
const SPEED: u64 = 4 << 30;
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));
/// What the kernel must have taken since the last measuring for another, bytes.
const GROWTH: u64 = 16 * MIB;
/// Or so much time must have passed: others may have given back what one took.
const LONGEST: Duration = Duration::from_secs(20);
/// Measuring takes no larger part of the time than one of this many.
const REST: u32 = 10;
/// What a sandbox may hold uncounted while the host is short: a part of its memory, and no less than so many bytes.
const SHARE: (u64, u64) = (8, 64 * MIB);
const GIB: u64 = 1 << 30;

/// The host's memory, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Memory {
    total: u64,
    available: u64,
    /// What the kernel has for itself: what is neither free, nor a program's, nor a cache that it could give back.
    kernel: u64,
}

impl Memory {
    fn read() -> std::io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/meminfo")?))
    }

    fn parse(meminfo: &str) -> Self {
        let bytes = |name| info::bytes(meminfo, name);
        let total = bytes("MemTotal");
        let other = ["MemFree", "Buffers", "Cached", "SwapCached", "AnonPages", "SReclaimable"].map(bytes);
        Self { total, available: bytes("MemAvailable"), kernel: total.saturating_sub(other.iter().sum()) }
    }

    /// When to look again.
    fn pause(self, reserve: u64) -> Duration {
        Duration::from_millis(self.available.saturating_sub(reserve) * 1000 / SPEED).clamp(LOOKS.0, LOOKS.1)
    }
}

/// What a sandbox with that much memory may hold uncounted.
fn share(memory: u64) -> u64 {
    (memory / SHARE.0).max(SHARE.1)
}

/// Starts to watch on a thread of its own, which ends with the runner.
pub(crate) fn watch(runner: &Arc<Inner>) {
    let pressure = Pressure::watch().inspect_err(|error| tracing::debug!(%error, "the kernel tells of no pressure"));
    let mut watcher = Watcher {
        runner: Arc::downgrade(runner),
        reserve: runner.host.config.memory_reserve,
        short: false,
        measured: None,
    };
    let spawned = std::thread::Builder::new().name("reserve".into()).spawn(move || {
        while let Some(pause) = watcher.look() {
            match &pressure {
                Ok(pressure) if pressure.wait(pause).is_ok() => {}
                _ => std::thread::sleep(pause),
            }
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "no thread to watch memory on: one sandbox may take the host's by way of the kernel");
    }
}

struct Watcher {
    runner: Weak<Inner>,
    reserve: Option<u64>,
    /// Whether less than the reserve was left at the last look.
    short: bool,
    measured: Option<Measured>,
}

/// The last time that sandboxes were measured.
struct Measured {
    /// What the kernel had, or less if it gave some back since.
    kernel: u64,
    /// The earliest and the latest time of the next.
    next: Instant,
    latest: Instant,
}

impl Watcher {
    /// Looks, acts, and says when to look again; none when the runner is gone.
    fn look(&mut self) -> Option<Duration> {
        let runner = self.runner.upgrade()?;
        let memory = match Memory::read() {
            Ok(memory) => memory,
            Err(error) => {
                tracing::warn!(%error, "free memory of the host unknown");
                return Some(LOOKS.1);
            }
        };
        let reserve = self.reserve.unwrap_or_else(|| (memory.total / PART).clamp(BOUNDS.0, BOUNDS.1));
        let short = memory.available < reserve;
        if short != self.short {
            self.short = short;
            let (left_mib, reserve_mib) = (memory.available / MIB, reserve / MIB);
            match short {
                true => tracing::warn!(left_mib, reserve_mib, "the host is short of memory"),
                false => tracing::info!(left_mib, reserve_mib, "the host has memory again"),
            }
        }
        if let Some(measured) = &mut self.measured {
            measured.kernel = measured.kernel.min(memory.kernel);
        }
        let due = self.measured.as_ref().is_none_or(|last| {
            let (now, grown) = (Instant::now(), memory.kernel > last.kernel.saturating_add(GROWTH));
            now >= last.next && (grown || now >= last.latest)
        });
        if short && due {
            let began = Instant::now();
            measure(&runner);
            let next = Instant::now() + began.elapsed() * REST;
            self.measured = Some(Measured { kernel: memory.kernel, next, latest: next + LONGEST });
        }
        Some(memory.pause(reserve))
    }
}

/// Ends each sandbox that holds more than its share.
fn measure(runner: &Inner) {
    for sandbox in runner.all() {
        let Some(live) = sandbox.live() else { continue };
        let Ok(processes) = runner.cgroup(sandbox.id, &live).processes() else { continue };
        let held = uncounted::measure(&processes);
        tracing::debug!(sandbox_id = %sandbox.id, ?held, "kernel memory that is not counted");
        // A resize waits for its record; the share follows with the next look.
        let Ok(limit) = sandbox.record.try_lock().map(|record| u64::from(record.spec.resources.memory) * GIB) else {
            continue;
        };
        if held.bytes() > share(limit) {
            end(runner, &sandbox, &live, &held);
        }
    }
}

fn end(runner: &Inner, sandbox: &Sandbox, live: &Live, held: &Held) {
    let (mib, most) = (held.bytes() / MIB, held.most().unwrap_or_default());
    tracing::warn!(sandbox_id = %sandbox.id, ?held, "ended: it holds too much of the kernel's memory");
    let reason = format!(
        "the sandbox held {mib} MiB of the kernel's memory outside its limit ({most}) while the host was short of memory"
    );
    if let Err(error) = live.expel(&runner.cgroup(sandbox.id, live), reason) {
        tracing::error!(sandbox_id = %sandbox.id, %error, "a sandbox that takes the host's memory can't be ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_has_is_the_rest() {
        let meminfo = "MemTotal: 1000 kB\nMemFree: 300 kB\nMemAvailable: 500 kB\nBuffers: 10 kB\nCached: 200 kB\n\
                       SwapCached: 0 kB\nAnonPages: 100 kB\nSReclaimable: 40 kB\n";
        assert_eq!(Memory::parse(meminfo), Memory { total: 1000 << 10, available: 500 << 10, kernel: 350 << 10 });
        assert_eq!(Memory::parse(""), Memory { total: 0, available: 0, kernel: 0 });
    }

    #[test]
    fn looks_before_the_rest_can_be_taken() {
        let pause = |available| Memory { total: 64 << 30, available, kernel: 0 }.pause(2 << 30);
        assert_eq!(pause(60 << 30), LOOKS.1);
        assert_eq!(pause(6 << 30), Duration::from_secs(1));
        assert_eq!(pause(1 << 30), LOOKS.0);
    }

    #[test]
    fn small_sandboxes_have_a_least_share() {
        assert_eq!(share(1 << 30), 128 * MIB);
        assert_eq!(share(64 * MIB), 64 * MIB);
    }
}
