//! Memory of the kernel that a sandbox holds and that no limit counts.
//!
//! The kernel counts most of what it allocates for a process as that process's, but not what waits in these places. Each is
//! measured by what the kernel says of it, so all numbers come from what root inside has shaped: they are read with bounds,
//! added without overflow, and what can't be read counts as nothing.
//!
//! | what | from | exact |
//! |---|---|---|
//! | unread messages of netlink, packet, raw and ping sockets | `/proc/PID/net` | yes |
//! | packets sent and not yet taken by anybody | `/proc/PID/net`, or the queues' own count | within a third |
//! | rings of packet sockets | `sock_diag(7)` | yes |
//! | tracked connections | `nf_conntrack_count` | at least |
//! | neighbours, bridge entries, next hops, routes, interfaces | dumps of `rtnetlink(7)` | at least |
//!
//! Only networks with a process in them are seen, and neither what waits in a tun device or for its rest as a fragment, nor locks
//! of files: `/proc/locks` is read in quadratic time, while nobody on the host can lock a file.

mod namespace;
mod sockets;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// Processes and network namespaces of one sandbox that are looked at.
const MOST_PROCESSES: usize = 4096;
const MOST_NAMESPACES: usize = 64;
/// After so long no further one is looked at: a hostile sandbox must not hide another.
const LONGEST: Duration = Duration::from_secs(1);

/// What one sandbox holds, bytes for each kind.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Held(HashMap<&'static str, u64>);

impl Held {
    fn add(&mut self, kind: &'static str, bytes: u64) {
        let sum = self.0.entry(kind).or_default();
        *sum = sum.saturating_add(bytes);
    }

    /// Of all kinds.
    pub fn bytes(&self) -> u64 {
        self.0.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// The kind of which there is most.
    pub fn most(&self) -> Option<&'static str> {
        self.0.iter().max_by_key(|(_, bytes)| **bytes).map(|(kind, _)| *kind)
    }
}

/// Measures what the sandbox of these processes holds. Blocks, for some seconds at most.
pub fn measure(processes: &[i32]) -> Held {
    let began = Instant::now();
    let mut held = Held::default();
    let mut seen = Vec::new();
    for &pid in processes.iter().take(MOST_PROCESSES) {
        let Ok(name) = std::fs::read_link(format!("/proc/{pid}/ns/net")) else { continue };
        if seen.contains(&name) {
            continue;
        }
        if seen.len() == MOST_NAMESPACES || began.elapsed() > LONGEST {
            break;
        }
        seen.push(name);
        let sent = sockets::add(pid, &mut held);
        if let Err(error) = namespace::add(pid, sent, &mut held) {
            // Most often its process has ended.
            tracing::debug!(pid, %error, "a network was not measured");
            held.add(SENT, sent);
        }
    }
    held
}

const SENT: &str = "packets that nobody has taken";

/// Hands on each line of a file that may be long, up to `most` bytes; longer lines than any of ours in parts.
fn each_line(path: &str, most: u64, mut each: impl FnMut(&str)) -> io::Result<()> {
    let mut file = File::open(path)?.take(most);
    let mut buffer = vec![0; 64 * 1024];
    let mut kept = 0;
    loop {
        let length = file.read(&mut buffer[kept..])?;
        let end = kept + length;
        let whole = match buffer[..end].iter().rposition(|&byte| byte == b'\n') {
            Some(last) if length > 0 => last + 1,
            _ => end,
        };
        buffer[..whole].split(|&byte| byte == b'\n').filter_map(|line| str::from_utf8(line).ok()).for_each(&mut each);
        if length == 0 {
            return Ok(());
        }
        buffer.copy_within(whole..end, 0);
        kept = end - whole;
    }
}
