//! The packets that the kernel refused, as it tells of them.
//!
//! The rules copy the head of each refused packet to a netlink group, so many a second per sandbox (`linux/netfilter/
//! nfnetlink_log.h`). What is in it comes from the sandbox.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use sebring_types::denial::{Protocol, Reason};

use crate::netlink::{ACKNOWLEDGE, Attributes, Messages, REQUEST, code, messages};
use crate::network::Parts;
use crate::{Claim, NetworkError};

const SUBSYSTEM: u16 = 4;
const PACKET: u16 = SUBSYSTEM << 8;
const CONFIGURE: u16 = SUBSYSTEM << 8 | 1;
const CONFIGURE_COMMAND: u16 = 1;
const COMMAND_BIND: u8 = 1;
const CONFIGURE_MODE: u16 = 2;
const MODE_COPY_PACKET: u8 = 2;
const CONFIGURE_THRESHOLD: u16 = 5;
const PAYLOAD: u16 = 9;
const PREFIX: u16 = 10;
/// How the rules mark what they refuse because a sandbox has too many connections, or begins too many.
pub(crate) const CROWDED: &str = "crowded";
/// Of the netlink family, after the header.
const GENERIC: usize = 4;
/// Bytes of a packet that the kernel copies: the IPv4 header with all options, and the ports.
pub(crate) const HEAD: u32 = 64;
/// The first of our groups; the place is added.
const FIRST_GROUP: u16 = 24_240;

/// The group in which the kernel tells of a server's refusals.
pub(crate) fn group(claim: Claim) -> u16 {
    FIRST_GROUP + u16::from(claim.place)
}

/// Notes each refusal from now on, on a thread of its own, as long as the server runs.
pub(crate) fn watch(claim: Claim, parts: Arc<Parts>) -> Result<(), NetworkError> {
    let socket = subscribe(group(claim)).map_err(NetworkError::io("netlink group of refused packets"))?;
    let listen = move || {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((length, _)) => {
                    packets(&buffer[..length]).for_each(|(packet, crowded)| note(&parts, packet, crowded))
                }
                // Some were lost, as the sandboxes sent too many.
                Err(Errno::NOBUFS | Errno::INTR) => {}
                Err(error) => return tracing::error!(%error, "refused packets are not noted any more"),
            }
        }
    };
    let thread = std::thread::Builder::new().name("refusals".into()).spawn(listen);
    thread.map(drop).map_err(NetworkError::io("thread for refused packets"))
}

fn note(parts: &Parts, packet: Head, crowded: bool) {
    let Some(source) = parts.sources.get(packet.from) else { return };
    let reason = match parts.unreachable.reason(packet.to) {
        _ if crowded => Reason::TooManyConnections,
        Some(reason) => reason,
        None => source.reason(packet.to, packet.protocol),
    };
    let names = source.names_of(packet.to);
    source.deny(packet.protocol, names.first().map(String::as_str), Some((packet.to, packet.port)), reason);
}

fn subscribe(group: u16) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::NETFILTER),
    )?;
    let configure = |kind: u16, value: &[u8]| {
        let mut request = Messages::default();
        request.message(CONFIGURE, REQUEST | ACKNOWLEDGE, 0, group, |m| m.attribute(kind, value));
        rustix::net::send(&socket, request.bytes(), SendFlags::empty())?;
        let mut answer = [0; 1024];
        let (length, _) = rustix::net::recv(&socket, answer.as_mut_slice(), RecvFlags::empty())?;
        match messages(&answer[..length]).next().and_then(|(_, body)| code(body)) {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(-code)),
            None => Err(io::Error::other("netlink answer without a verdict")),
        }
    };
    configure(CONFIGURE_COMMAND, &[COMMAND_BIND])?;
    configure(CONFIGURE_MODE, &[&HEAD.to_be_bytes()[..], &[MODE_COPY_PACKET, 0]].concat())?;
    // Each at once, instead of many together after a second.
    configure(CONFIGURE_THRESHOLD, &1u32.to_be_bytes())?;
    Ok(socket)
}

/// What the head of a packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: Protocol,
    port: Option<u16>,
}

impl Head {
    /// Of an IPv4 packet of which at least the header is there.
    pub fn read(packet: &[u8]) -> Option<Self> {
        let first = *packet.first()?;
        if first >> 4 != 4 {
            return None;
        }
        let address = |at: usize| {
            let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
            Some(Ipv4Addr::from(bytes))
        };
        let protocol = match packet.get(9)? {
            1 => Protocol::Icmp,
            6 => Protocol::Tcp,
            17 => Protocol::Udp,
            _ => Protocol::Other,
        };
        let ports = usize::from(first & 0x0f) * 4;
        let has_ports = matches!(protocol, Protocol::Tcp | Protocol::Udp);
        let port = packet.get(ports + 2..ports + 4).filter(|_| has_ports && ports >= 20);
        let port = port.and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes);
        Some(Self { from: address(12)?, to: address(16)?, protocol, port })
    }
}

/// The packets of which the kernel's messages tell, and which were refused because there were too many.
fn packets(bytes: &[u8]) -> impl Iterator<Item = (Head, bool)> {
    messages(bytes).filter(|(header, _)| header.kind == PACKET).filter_map(|(_, body)| {
        let attributes = Attributes(body.get(GENERIC..)?);
        let crowded = { attributes }.any(|(kind, value)| kind == PREFIX && value.starts_with(CROWDED.as_bytes()));
        let (_, payload) = { attributes }.find(|(kind, _)| *kind == PAYLOAD)?;
        Some((Head::read(payload)?, crowded))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10.200.0.16 → 192.0.2.1, with four bytes of options.
    fn packet(protocol: u8) -> Vec<u8> {
        let mut packet = vec![0x46, 0, 0, 60, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 200, 0, 16, 192, 0, 2, 1];
        packet.extend([1, 1, 1, 1, 0x9c, 0x40, 0x01, 0xbb, 0, 0]);
        packet
    }

    fn message(packet: &[u8], prefix: &str) -> Vec<u8> {
        let mut messages = Messages::default();
        messages.message(PACKET, 0, 0, 7, |m| {
            m.attribute(1, &[0; 4]);
            m.text(PREFIX, prefix);
            m.attribute(PAYLOAD, packet);
        });
        messages.bytes().to_vec()
    }

    #[test]
    fn reads_what_the_kernel_tells() {
        let told = [message(&packet(6), ""), message(&[], ""), message(&packet(17), CROWDED)].concat();
        let heads: Vec<_> = packets(&told).collect();
        let (from, to) = (Ipv4Addr::new(10, 200, 0, 16), Ipv4Addr::new(192, 0, 2, 1));
        let head = |protocol| Head { from, to, protocol, port: Some(443) };
        assert_eq!(heads, [(head(Protocol::Tcp), false), (head(Protocol::Udp), true)]);
        assert_eq!(Head::read(&packet(1)).map(|head| head.port), Some(None));
    }

    #[test]
    fn survives_what_is_cut() {
        let whole = message(&packet(6), "");
        for length in 0..whole.len() {
            packets(&whole[..length]).for_each(drop);
        }
        for length in 0..20 {
            assert_eq!(Head::read(&packet(6)[..length]), None, "{length}");
        }
        assert_eq!(Head::read(&packet(6)[..20]).map(|head| head.port), Some(None));
        assert_eq!(Head::read(&[0x60; 64]), None);
    }
}
