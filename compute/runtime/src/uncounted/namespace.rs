//! What a network namespace holds beside its sockets' queues, asked for from within.

use std::collections::BTreeSet;
use std::io;

use super::{Held, SENT, each_line};
use crate::netlink::{IFLA_NUM_RX_QUEUES, IFLA_NUM_TX_QUEUES, Socket, attribute};

/// Entries of each table that are counted; of the cheapest kind they are enough to be noticed.
const MOST: usize = 1 << 19;

// linux/rtnetlink.h, linux/gen_stats.h
const TCA_STATS2: u16 = 7;
const TCA_STATS_QUEUE: u16 = 3;
/// Bytes of a `tcmsg`, and of an `ifinfomsg`.
const TCMSG: usize = 20;
const IFINFOMSG: usize = 16;
const IFLA_TXQLEN: u16 = 13;
const RTM_GETNEXTHOP: u16 = 106;
// linux/packet_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const PACKET_SHOW_RING_CFG: u32 = 4;
const PACKET_DIAG_RINGS: [u16; 2] = [2, 3];

/// Tables whose entries cost memory: the question, the bytes of its fixed part, the family asked for, and what one entry takes at
/// least (sizes of Linux 6.1 to 6.18).
const TABLES: [(&str, u16, usize, i32, u64); 5] = [
    ("neighbours", libc::RTM_GETNEIGH, 12, libc::AF_UNSPEC, 448),
    ("bridge entries", libc::RTM_GETNEIGH, 12, libc::AF_BRIDGE, 128),
    ("next hops", RTM_GETNEXTHOP, 8, libc::AF_UNSPEC, 320),
    ("routes", libc::RTM_GETROUTE, 12, libc::AF_UNSPEC, 192),
    ("routing rules", libc::RTM_GETRULE, 12, libc::AF_UNSPEC, 192),
];
/// Bytes of an interface, of one of its queues with a discipline, and of a place in the ring of such a queue, of which there are
/// up to four: three of `pfifo_fast`, one of a tun device.
const INTERFACE: u64 = 4096;
const QUEUE: u64 = 1024;
const RING_PLACE: u64 = 4 * 8;
/// Bytes of a queueing discipline, or of a class in one, at least.
const DISCIPLINE: u64 = 512;
/// Interfaces whose classes are counted: so many hold enough by themselves.
const MOST_CLASSFUL: usize = 1 << 14;
/// Bytes that a packet may have which waits for a program: as large as the loopback interface carries them.
const LARGEST_PACKET: u64 = 64 * 1024;
/// Bytes of the list of queues that are read; there can be 65,536 of a line each.
const LONGEST_LIST: u64 = 8 << 20;
/// Bytes of a tracked connection with what is attached to it, at least.
const TRACKED: u64 = 256;

/// Adds what the network of this thread holds, which may be any that root inside made. `sent` is what its sockets have sent and
/// nobody has taken: queues have those packets, and others whose sockets are closed.
pub(super) fn add(sent: u64, held: &mut Held) {
    let Disciplines { queued, count, interfaces: queueing } = disciplines();
    held.add(SENT, sent.max(queued));
    held.add("interfaces", interfaces());
    let classes = queueing.into_iter().take(MOST_CLASSFUL).map(classes).fold(0, u64::saturating_add);
    held.add("traffic control", count.saturating_add(classes).saturating_mul(DISCIPLINE));
    held.add("packets that wait for a program", waiting());
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

/// The queueing disciplines of a network.
#[derive(Debug, Default)]
struct Disciplines {
    /// Bytes of packets in them.
    queued: u64,
    count: u64,
    /// The indices of interfaces that have one.
    interfaces: BTreeSet<i32>,
}

fn disciplines() -> Disciplines {
    let mut found = Disciplines::default();
    dump(Socket::open(), libc::RTM_GETQDISC, &[0; TCMSG], |discipline| {
        found.queued = found.queued.saturating_add(backlog(discipline).unwrap_or_default().into());
        found.count += 1;
        found.interfaces.extend(number(discipline, 1).map(u32::cast_signed));
    });
    found
}

/// How many classes the queueing disciplines of an interface have.
fn classes(interface: i32) -> u64 {
    let mut request = [0; TCMSG];
    request[4..8].copy_from_slice(&interface.to_ne_bytes());
    let mut count = 0;
    dump(Socket::open(), libc::RTM_GETTCLASS, &request, |_| count += 1);
    count
}

/// Bytes of all interfaces.
fn interfaces() -> u64 {
    let mut bytes = 0u64;
    dump(Socket::open(), libc::RTM_GETLINK, &[0; IFINFOMSG], |interface| {
        bytes = bytes.saturating_add(interface_size(interface));
    });
    bytes
}

/// Of an `ifinfomsg` with its attributes.
fn interface_size(interface: &[u8]) -> u64 {
    let attributes = interface.get(IFINFOMSG..).unwrap_or_default();
    let value = |kind| attribute(attributes, kind).and_then(|value| number(value, 0)).map_or(0, u64::from);
    let [queues, receiving, places] = [IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES, IFLA_TXQLEN].map(value);
    let each = places.saturating_mul(RING_PLACE).saturating_add(QUEUE);
    INTERFACE.saturating_add(queues.saturating_mul(each)).saturating_add(receiving.saturating_mul(QUEUE))
}

/// Bytes of packets that the packet filter has handed to programs which have not decided.
fn waiting() -> u64 {
    let mut packets = 0u64;
    let each = |line: &str| packets = packets.saturating_add(queue_length(line).unwrap_or_default());
    // A kernel without the feature has no such file.
    if let Err(error) = each_line("/proc/thread-self/net/netfilter/nfnetlink_queue", LONGEST_LIST, each) {
        tracing::debug!(%error, "no queues of the packet filter");
    }
    packets.saturating_mul(LARGEST_PACKET)
}

/// `nfnetlink_queue` has a line for each queue: its number, who reads it, how many wait, and more.
fn queue_length(line: &str) -> Option<u64> {
    line.split_ascii_whitespace().nth(2)?.parse().ok()
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
    use super::super::MAKES_NETWORKS;
    use super::*;

    #[test]
    fn hostile_lengths_are_nothing() {
        assert_eq!(ring_size(&[1, 0, 0]), None);
        assert_eq!(ring_size(&[255; 8]), Some(u64::from(u32::MAX) * u64::from(u32::MAX)));
        assert_eq!(backlog(&[0; 19]), None);
        assert_eq!(backlog(&[255; 64]), None);
        assert_eq!(interface_size(&[0; 3]), INTERFACE);
        let mut huge = [0; 16 + 3 * 8];
        for (place, kind) in [IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES, IFLA_TXQLEN].into_iter().enumerate() {
            let at = IFINFOMSG + 8 * place;
            huge[at..at + 2].copy_from_slice(&8u16.to_ne_bytes());
            huge[at + 2..at + 4].copy_from_slice(&kind.to_ne_bytes());
            huge[at + 4..at + 8].fill(255);
        }
        assert_eq!(interface_size(&huge), u64::MAX);
    }

    #[test]
    fn lengths_of_queues_of_the_packet_filter() {
        assert_eq!(queue_length("    0  11843  1024 2 65531     0     0        7  1"), Some(1024));
        assert_eq!(queue_length("0 1"), None);
    }

    /// Needs root.
    #[test]
    fn long_queues_and_classes_are_counted() {
        let shell = |script: &str| std::process::Command::new("sh").args(["-ec", script]).status().expect("a shell");
        let _alone = MAKES_NETWORKS.lock();
        std::thread::spawn(move || {
            // SAFETY: the network of this thread and of its children alone.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.expect("a network");
            let before = interfaces();
            assert!(shell("ip link add v0 txqueuelen 1000000 numtxqueues 2 type veth peer name v1").success());
            let after = interfaces();
            assert!(after - before > 2 * 1_000_000 * RING_PLACE, "{before} {after}");
            // SAFETY: the name is a C string.
            let index = unsafe { libc::if_nametoindex(c"v0".as_ptr()) }.cast_signed();
            let class = "for n in 1 2 3; do tc class add dev v0 parent 1: classid 1:$n htb rate 1mbit; done";
            assert!(shell(&format!("tc qdisc add dev v0 root handle 1: htb; {class}")).success());
            assert_eq!(classes(index), 3);
            let found = disciplines();
            assert!(found.interfaces.contains(&index) && found.count >= 1, "{found:?}");
        })
        .join()
        .expect("counted");
    }
}
