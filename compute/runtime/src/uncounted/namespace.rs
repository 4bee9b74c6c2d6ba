//! What a network namespace holds beside its sockets' queues, asked for from within.

use std::io;

use super::{Held, SENT};
use crate::netlink::{Socket, attribute};

/// Entries of each table that are counted; of the cheapest kind they are enough to be noticed.
const MOST: usize = 1 << 19;

// linux/rtnetlink.h, linux/gen_stats.h
const TCA_STATS2: u16 = 7;
const TCA_STATS_QUEUE: u16 = 3;
const RTM_GETNEXTHOP: u16 = 106;
// linux/packet_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const PACKET_SHOW_RING_CFG: u32 = 4;
const PACKET_DIAG_RINGS: [u16; 2] = [2, 3];

/// Tables whose entries cost memory: the question, the bytes of its fixed part, the family asked for, and what one entry takes at
/// least (sizes of Linux 6.1 to 6.18).
const TABLES: [(&str, u16, usize, i32, u64); 6] = [
    ("neighbours", libc::RTM_GETNEIGH, 12, libc::AF_UNSPEC, 448),
    ("bridge entries", libc::RTM_GETNEIGH, 12, libc::AF_BRIDGE, 128),
    ("next hops", RTM_GETNEXTHOP, 8, libc::AF_UNSPEC, 320),
    ("routes", libc::RTM_GETROUTE, 12, libc::AF_UNSPEC, 192),
    ("routing rules", libc::RTM_GETRULE, 12, libc::AF_UNSPEC, 192),
    ("interfaces", libc::RTM_GETLINK, 16, libc::AF_UNSPEC, 4096),
];
/// Bytes of a tracked connection with what is attached to it, at least.
const TRACKED: u64 = 256;

/// Adds what the network of this thread holds, which may be any that root inside made. `sent` is what its sockets have sent and
/// nobody has taken: queues have those packets, and others whose sockets are closed.
pub(super) fn add(sent: u64, held: &mut Held) {
    held.add(SENT, sent.max(queued()));
    held.add("rings of packet sockets", rings());
    let tracked = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap_or_default();
    held.add("tracked connections", tracked.trim().parse::<u64>().unwrap_or_default().saturating_mul(TRACKED));
    for (kind, question, length, family, each) in TABLES {
        let mut body = vec![0; length];
        body[0] = family as u8;
        let mut count = 0u64;
        dump(Socket::open(), question, &body, |_| count += 1);
        held.add(kind, count.saturating_mul(each));
    }
}

/// A socket is good for one dump, for that may be broken off. What a kernel does not have holds nothing.
fn dump(socket: io::Result<Socket>, question: u16, body: &[u8], each: impl FnMut(&[u8])) {
    if let Err(error) = socket.and_then(|socket| socket.dump(question, body, MOST, each)) {
        tracing::debug!(question, %error, "not measured");
    }
}

/// Bytes of packets in queueing disciplines.
fn queued() -> u64 {
    let mut bytes = 0u64;
    // tcmsg
    dump(Socket::open(), libc::RTM_GETQDISC, &[0; 20], |discipline| {
        bytes = bytes.saturating_add(backlog(discipline).unwrap_or_default().into());
    });
    bytes
}

fn rings() -> u64 {
    // packet_diag_req
    let mut request = vec![libc::AF_PACKET as u8, 0, 0, 0, 0, 0, 0, 0];
    request.extend_from_slice(&PACKET_SHOW_RING_CFG.to_ne_bytes());
    request.extend_from_slice(&[0; 8]);
    let mut bytes = 0u64;
    dump(Socket::open_diagnosis(), SOCK_DIAG_BY_FAMILY, &request, |socket| {
        // packet_diag_msg, then attributes.
        let attributes = socket.get(16..).unwrap_or_default();
        let rings = PACKET_DIAG_RINGS.iter().filter_map(|&ring| ring_size(attribute(attributes, ring)?));
        bytes = rings.fold(bytes, u64::saturating_add);
    });
    bytes
}

/// Of a `tcmsg` with its attributes: the second number of the queue's statistics.
fn backlog(discipline: &[u8]) -> Option<u32> {
    let queue = attribute(attribute(discipline.get(20..)?, TCA_STATS2)?, TCA_STATS_QUEUE)?;
    number(queue, 1)
}

/// `packet_diag_ring`: the size of a block, then how many.
fn ring_size(ring: &[u8]) -> Option<u64> {
    Some(u64::from(number(ring, 0)?).saturating_mul(number(ring, 1)?.into()))
}

fn number(bytes: &[u8], place: usize) -> Option<u32> {
    bytes.get(4 * place..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_lengths_are_nothing() {
        assert_eq!(ring_size(&[1, 0, 0]), None);
        assert_eq!(ring_size(&[255; 8]), Some(u64::from(u32::MAX) * u64::from(u32::MAX)));
        assert_eq!(backlog(&[0; 19]), None);
        assert_eq!(backlog(&[255; 64]), None);
    }
}
