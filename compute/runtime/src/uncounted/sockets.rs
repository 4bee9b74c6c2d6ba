//! What waits in sockets, as the tables of `/proc/net` tell.

use super::{Held, each_line};

/// Bytes of each table that are read: some hundred thousand sockets.
const MOST: u64 = 32 << 20;

/// The tables of the network that this thread is in.
const TABLES: &str = "/proc/thread-self/net";
/// Bytes of a multicast address of an interface, at least.
const MULTICAST: u64 = 96;

/// Adds what was received in the network of this thread and not read, or not whole; answers what was sent and not taken.
pub(super) fn add(held: &mut Held) -> u64 {
    let mut sent = 0u64;
    let mut table = |name: &str, kind, parse: fn(&str) -> Option<Queues>| {
        let mut unread = 0u64;
        // A kernel without this protocol has no such table.
        let _ = each_line(&format!("{TABLES}/{name}"), MOST, |line| {
            if let Some(queues) = parse(line) {
                unread = unread.saturating_add(queues.unread);
                sent = sent.saturating_add(queues.sent);
            }
        });
        if let Some(kind) = kind {
            held.add(kind, unread);
        }
    };
    table("netlink", Some("unread netlink messages"), netlink);
    table("packet", Some("unread packets"), packet);
    for name in ["raw", "raw6", "icmp", "icmp6"] {
        table(name, Some("unread datagrams of raw sockets"), internet);
    }
    // Only what they send: what they receive is counted.
    for name in ["udp", "udp6", "udplite", "udplite6"] {
        table(name, None, internet);
    }
    for name in ["sockstat", "sockstat6"] {
        let _ = each_line(&format!("{TABLES}/{name}"), MOST, |line| {
            held.add("fragments of packets", fragments(line).unwrap_or_default());
        });
    }
    let mut addresses = 0u64;
    let _ = each_line(&format!("{TABLES}/dev_mcast"), MOST, |_| addresses += 1);
    held.add("multicast addresses", addresses.saturating_mul(MULTICAST));
    sent
}

/// `FRAG: inuse 0 memory 0`, or `FRAG6: …`; bytes.
fn fragments(line: &str) -> Option<u64> {
    line.strip_prefix("FRAG")?.rsplit_once("memory ")?.1.trim().parse().ok()
}

/// Bytes of one socket.
#[derive(Debug, Default, PartialEq, Eq)]
struct Queues {
    unread: u64,
    sent: u64,
}

/// `sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode`.
fn netlink(line: &str) -> Option<Queues> {
    let mut fields = line.split_ascii_whitespace().skip(4);
    Some(Queues { unread: fields.next()?.parse().ok()?, sent: fields.next()?.parse().ok()? })
}

/// `sk RefCnt Type Proto Iface R Rmem User Inode`.
fn packet(line: &str) -> Option<Queues> {
    Some(Queues { unread: line.split_ascii_whitespace().nth(6)?.parse().ok()?, sent: 0 })
}

/// `sl local_address rem_address st tx_queue:rx_queue …`, the queues hexadecimal.
fn internet(line: &str) -> Option<Queues> {
    let (sent, unread) = line.split_ascii_whitespace().nth(4)?.split_once(':')?;
    Some(Queues { unread: u64::from_str_radix(unread, 16).ok()?, sent: u64::from_str_radix(sent, 16).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_read_from_the_kernels_tables() {
        let line = "00000000e5f24402 2   22953      00000000 104857600 2304     0        2        0        85883   ";
        assert_eq!(netlink(line), Some(Queues { unread: 104_857_600, sent: 2304 }));
        let line = "0000000000000000 3      3    0003   2     1 213504 0      31337 ";
        assert_eq!(packet(line), Some(Queues { unread: 213_504, sent: 0 }));
        let line =
            "  255: 00000000:00FF 00000000:0000 07 00000300:00034080 00:00000000 00000000     0        0 1 2 0000 0";
        assert_eq!(internet(line), Some(Queues { unread: 0x34080, sent: 0x300 }));
    }

    #[test]
    fn fragments_are_read() {
        assert_eq!(fragments("FRAG: inuse 2 memory 4096"), Some(4096));
        assert_eq!(fragments("FRAG6: inuse 2 memory 8192"), Some(8192));
        assert_eq!(fragments("UDP: inuse 2 mem 1"), None);
    }

    #[test]
    fn headers_and_nonsense_are_no_sockets() {
        for parse in [netlink, packet, internet] {
            for line in [
                "",
                "sk Eth Pid Groups Rmem Wmem Dump Locks Drops",
                "  sl  local_address rem_address   st tx_queue rx_queue",
            ] {
                assert_eq!(parse(line), None, "{line}");
            }
        }
        assert_eq!(internet("1: a b 07 FFFFFFFFFFFFFFFFFF:0"), None);
    }
}
