//! Takes entries out of the kernel's table of connections, which all of the host shares.
//!
//! Formats: `linux/netfilter/nfnetlink_conntrack.h`.

use std::collections::HashSet;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use crate::netlink::{ACKNOWLEDGE, Attributes, DONE, DUMP, ERROR, Messages, REQUEST, code, messages};

const SUBSYSTEM: u16 = 1;
const GET: u16 = SUBSYSTEM << 8 | 1;
const DELETE: u16 = SUBSYSTEM << 8 | 2;
const FAMILY_IPV4: u8 = 2;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const TUPLE_IP: u16 = 1;
const IPV4_SOURCE: u16 = 1;
/// Of the netlink family, after the header.
const GENERIC: usize = 4;
/// Entries that one send takes out.
const TOGETHER: usize = 128;

/// Forgets every connection that one of these addresses began or answered. One look through the table, whose length is what
/// that costs: some milliseconds.
pub(crate) fn forget(addresses: &HashSet<Ipv4Addr>) -> io::Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::NETFILTER),
    )?;
    let found = find(&socket, addresses)?;
    found.chunks(TOGETHER).try_for_each(|entries| delete(&socket, entries))
}

/// What names an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    original: Vec<u8>,
    id: Vec<u8>,
    zone: Option<Vec<u8>>,
}

fn find(socket: &OwnedFd, addresses: &HashSet<Ipv4Addr>) -> io::Result<Vec<Entry>> {
    let mut request = Messages::default();
    request.message(GET, REQUEST | DUMP, FAMILY_IPV4, 0, |_| {});
    rustix::net::send(socket, request.bytes(), SendFlags::empty())?;
    let mut buffer = vec![0; 64 * 1024];
    let mut found = Vec::new();
    loop {
        let (length, _) = rustix::net::recv(socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        for (header, body) in messages(&buffer[..length]) {
            match header.kind {
                DONE => return Ok(found),
                ERROR => return Err(io::Error::from_raw_os_error(-code(body).unwrap_or(0))),
                _ => found.extend(body.get(GENERIC..).and_then(|attributes| entry(attributes, addresses))),
            }
        }
    }
}

/// The entry that these attributes tell of, if it is of one of the addresses.
fn entry(attributes: &[u8], addresses: &HashSet<Ipv4Addr>) -> Option<Entry> {
    let find = |kind| Attributes(attributes).find(|(present, _)| *present == kind).map(|(_, value)| value);
    let original = find(TUPLE_ORIGINAL)?;
    let concerns = |tuple| source(tuple).is_some_and(|address| addresses.contains(&address));
    if !concerns(original) && !find(TUPLE_REPLY).is_some_and(concerns) {
        return None;
    }
    Some(Entry { original: original.to_vec(), id: find(ID)?.to_vec(), zone: find(ZONE).map(<[u8]>::to_vec) })
}

/// Who sends the packets of a tuple.
fn source(tuple: &[u8]) -> Option<Ipv4Addr> {
    let (_, ip) = Attributes(tuple).find(|(kind, _)| *kind == TUPLE_IP)?;
    let (_, address) = Attributes(ip).find(|(kind, _)| *kind == IPV4_SOURCE)?;
    Some(<[u8; 4]>::try_from(address).ok()?.into())
}

fn delete(socket: &OwnedFd, entries: &[Entry]) -> io::Result<()> {
    let mut requests = Messages::default();
    for entry in entries {
        // By its number, so that nothing is meant that came in its place meanwhile.
        requests.message(DELETE, REQUEST | ACKNOWLEDGE, FAMILY_IPV4, 0, |m| {
            m.nest(TUPLE_ORIGINAL, |m| m.raw(&entry.original));
            m.attribute(ID, &entry.id);
            if let Some(zone) = &entry.zone {
                m.attribute(ZONE, zone);
            }
        });
    }
    rustix::net::send(socket, requests.bytes(), SendFlags::empty())?;
    let mut buffer = vec![0; 64 * 1024];
    let mut left = entries.len();
    while left > 0 {
        let (length, _) = rustix::net::recv(socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        for (header, body) in messages(&buffer[..length]).filter(|(header, _)| header.kind == ERROR) {
            left = left.saturating_sub(1);
            // Its time may have been over.
            match io::Error::from_raw_os_error(-code(body).unwrap_or(0)) {
                error if matches!(error.raw_os_error(), Some(0)) || error.kind() == io::ErrorKind::NotFound => {}
                error => tracing::debug!(%error, sequence = header.sequence, "an entry of a connection stays"),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(m: &mut Messages, kind: u16, from: [u8; 4], to: [u8; 4]) {
        m.nest(kind, |m| {
            m.nest(TUPLE_IP, |m| {
                m.attribute(IPV4_SOURCE, &from);
                m.attribute(2, &to);
            });
        });
    }

    /// An entry as the kernel tells of it: masqueraded, so that only one side names the sandbox as a source.
    fn told(from: [u8; 4], answered_by: [u8; 4]) -> Vec<u8> {
        let mut told = Messages::default();
        told.message(SUBSYSTEM << 8, 0, FAMILY_IPV4, 0, |m| {
            tuple(m, TUPLE_ORIGINAL, from, [192, 0, 2, 9]);
            tuple(m, TUPLE_REPLY, answered_by, [192, 0, 2, 1]);
            m.attribute(ID, &[1, 2, 3, 4]);
        });
        told.bytes().to_vec()
    }

    #[test]
    fn finds_entries_by_either_side() {
        const OURS: [u8; 4] = [10, 200, 0, 16];
        const ELSE: [u8; 4] = [10, 200, 0, 17];
        let addresses = HashSet::from([Ipv4Addr::from(OURS)]);
        let found = |bytes: &[u8]| {
            let (_, body) = messages(bytes).next()?;
            entry(body.get(GENERIC..)?, &addresses)
        };
        for (from, answered_by, is_ours) in [(OURS, ELSE, true), (ELSE, OURS, true), (ELSE, ELSE, false)] {
            let told = told(from, answered_by);
            let found_id = found(&told).map(|entry| entry.id);
            assert_eq!(found_id, is_ours.then(|| vec![1, 2, 3, 4]), "{from:?} {answered_by:?}");
            for length in 0..told.len() {
                assert_eq!(found(&told[..length]), None, "cut at {length}");
            }
        }
    }
}
