//! Memory of the kernel that a sandbox holds and that no limit counts.
//!
//! The kernel counts most of what it allocates for a process as that process's, but not what waits in these places. Each is
//! measured by what the kernel says of it, so all numbers come from what root inside has shaped: they are read with bounds,
//! added without overflow, and what can't be read counts as nothing.
//!
//! | what | from | exact |
//! |---|---|---|
//! | unread messages of netlink, packet, raw and ping sockets | `/proc/net` | yes |
//! | packets sent and not yet taken by anybody | `/proc/net`, or the queues' own count | within a third |
//! | fragments that wait for the rest | `/proc/net/sockstat` | yes |
//! | rings of packet sockets | `sock_diag(7)` | yes |
//! | tracked connections | `nf_conntrack_count` | at least |
//! | neighbours, bridge entries, next hops, routes, traffic control but its filters | dumps of `rtnetlink(7)` | at least |
//! | interfaces with their queues | the same | at most |
//! | packets that wait for a program of the packet filter's (NFQUEUE) | `/proc/net` | at most |
//! | multicast addresses of interfaces | `/proc/net/dev_mcast` | at least |
//!
//! Only networks that a thread or a descriptor of the sandbox leads to are seen ([`networks`]), and neither the filters of
//! traffic control nor locks of files: `/proc/locks` is read in quadratic time, while nobody on the host can lock a file.

mod namespace;
mod networks;
mod sockets;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::error::{Context, RuntimeError};
use crate::link::Inside;

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
    for network in networks::of(processes) {
        if began.elapsed() > 2 * LONGEST {
            break;
        }
        if let Err(error) = add(&network, &mut held) {
            tracing::debug!(%error, "a network was not measured");
        }
    }
    held
}

fn add(network: &File, held: &mut Held) -> Result<(), RuntimeError> {
    let host = File::open("/proc/thread-self/ns/net").step("descriptor of the host's network")?;
    let _inside = Inside::enter(network.as_fd(), host.as_fd())?;
    let sent = sockets::add(held);
    namespace::add(sent, held);
    Ok(())
}

/// Held by tests that count or make networks of this process, which may share it.
#[cfg(test)]
static MAKES_NETWORKS: std::sync::Mutex<()> = std::sync::Mutex::new(());

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
