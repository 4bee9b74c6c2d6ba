//! The little of rtnetlink that a sandbox's network needs, as one message batch per call.
//!
//! Written by hand because it stands on the create path: no task, no channel, no allocation per attribute.
//! Formats: `rtnetlink(7)`, `linux/rtnetlink.h`, `linux/if_link.h`.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

const IFLA_ADDRESS: u16 = 1;
pub(crate) const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_NET_NS_FD: u16 = 28;
pub(crate) const IFLA_NUM_TX_QUEUES: u16 = 31;
pub(crate) const IFLA_NUM_RX_QUEUES: u16 = 32;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NETLINK_SOCK_DIAG: u32 = 4;
/// What the kernel puts together for one reader at most (`netlink_dump` in net/netlink/af_netlink.c), twice.
const DUMP_BUFFER: usize = 64 * 1024;
const HEADER: usize = 16;

/// The hardware address of both ends of every pair: each sends to its own, and so to the other, without asking. Set by hand, so
/// that no service of the host sets another.
const ADDRESS: [u8; 6] = [2, 0x53, 0x42, 0, 0, 1];

/// The other end of a pair.
pub(crate) struct Peer<'a> {
    pub name: &'a str,
    /// The interface index it gets in its namespace.
    pub index: i32,
    pub namespace: BorrowedFd<'a>,
}

/// Requests that are sent together and answered one by one.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    count: u32,
}

impl Batch {
    /// A pair of virtual Ethernet interfaces, both down, for packets of up to `mtu` bytes.
    pub fn add_veth(&mut self, name: &str, mtu: u32, peer: &Peer<'_>) {
        self.message(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, |m| {
            m.interface(0, 0, 0);
            m.name(name);
            m.address();
            m.attribute(IFLA_MTU, &mtu.to_ne_bytes());
            m.single_queue();
            m.nest(IFLA_LINKINFO, |m| {
                m.attribute(IFLA_INFO_KIND, b"veth");
                m.nest(IFLA_INFO_DATA, |m| {
                    m.nest(VETH_INFO_PEER, |m| {
                        m.interface(peer.index, 0, 0);
                        m.name(peer.name);
                        m.address();
                        m.attribute(IFLA_MTU, &mtu.to_ne_bytes());
                        m.attribute(IFLA_NET_NS_FD, &peer.namespace.as_raw_fd().to_ne_bytes());
                        m.single_queue();
                    });
                });
            });
        });
    }

    pub fn set_up(&mut self, index: i32) {
        self.message(libc::RTM_NEWLINK, 0, |m| m.interface(index, libc::IFF_UP as u32, libc::IFF_UP as u32));
    }

    pub fn set_down(&mut self, index: i32) {
        self.message(libc::RTM_NEWLINK, 0, |m| m.interface(index, 0, libc::IFF_UP as u32));
    }

    /// Any other request.
    pub fn request(&mut self, kind: u16, body: &[u8]) {
        self.message(kind, 0, |m| m.raw(body));
    }

    /// One end of a pair. It neither sends nor answers ARP: a host that does tells all of its addresses, and notes each one that
    /// a sandbox claims to have.
    pub fn set_up_end(&mut self, index: i32) {
        let flags = (libc::IFF_UP | libc::IFF_NOARP) as u32;
        self.message(libc::RTM_NEWLINK, 0, |m| m.interface(index, flags, flags));
    }

    pub fn delete_link(&mut self, index: i32) {
        self.message(libc::RTM_DELLINK, 0, |m| m.interface(index, 0, 0));
    }

    /// Gives an interface one address of its own, with no network around it.
    pub fn add_address(&mut self, index: i32, address: Ipv4Addr) {
        self.message(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, |m| {
            m.raw(&[libc::AF_INET as u8, 32, 0, 0]);
            m.raw(&index.to_ne_bytes());
            m.attribute(IFA_LOCAL, &address.octets());
            m.attribute(IFA_ADDRESS, &address.octets());
        });
    }

    pub fn delete_address(&mut self, index: i32, address: Ipv4Addr) {
        self.message(libc::RTM_DELADDR, 0, |m| {
            m.raw(&[libc::AF_INET as u8, 32, 0, 0]);
            m.raw(&index.to_ne_bytes());
            m.attribute(IFA_LOCAL, &address.octets());
        });
    }

    /// A route to one host, directly on the interface.
    pub fn add_host_route(&mut self, destination: Ipv4Addr, index: i32) {
        self.route(Some(destination), None, index);
    }

    pub fn add_default_route(&mut self, gateway: Ipv4Addr, index: i32) {
        self.route(None, Some(gateway), index);
    }

    fn route(&mut self, destination: Option<Ipv4Addr>, gateway: Option<Ipv4Addr>, index: i32) {
        self.message(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, |m| {
            let length = if destination.is_some() { 32 } else { 0 };
            let scope = if gateway.is_some() { libc::RT_SCOPE_UNIVERSE } else { libc::RT_SCOPE_LINK };
            m.raw(&[
                libc::AF_INET as u8,
                length,
                0,
                0,
                libc::RT_TABLE_MAIN,
                libc::RTPROT_STATIC,
                scope,
                libc::RTN_UNICAST,
            ]);
            m.raw(&0u32.to_ne_bytes());
            if let Some(destination) = destination {
                m.attribute(RTA_DST, &destination.octets());
            }
            if let Some(gateway) = gateway {
                m.attribute(RTA_GATEWAY, &gateway.octets());
            }
            m.attribute(RTA_OIF, &index.to_ne_bytes());
        });
    }

    fn message(&mut self, kind: u16, flags: i32, fill: impl FnOnce(&mut Self)) {
        self.message_with(kind, flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK, fill);
    }

    fn message_with(&mut self, kind: u16, flags: i32, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.count += 1;
        let flags = flags as u16;
        self.raw(&0u32.to_ne_bytes());
        self.raw(&[kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
        self.raw(&self.count.to_ne_bytes());
        self.raw(&0u32.to_ne_bytes());
        fill(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn interface(&mut self, index: i32, flags: u32, change: u32) {
        self.raw(&[0; 4]);
        self.raw(&index.to_ne_bytes());
        self.raw(&flags.to_ne_bytes());
        self.raw(&change.to_ne_bytes());
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = (4 + value.len()) as u16;
        self.raw(&[length.to_ne_bytes(), kind.to_ne_bytes()].concat());
        self.raw(value);
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.attribute(kind, &[]);
        fill(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn name(&mut self, name: &str) {
        self.attribute(IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat());
    }

    fn address(&mut self) {
        self.attribute(IFLA_ADDRESS, &ADDRESS);
    }

    fn single_queue(&mut self) {
        self.attribute(IFLA_NUM_TX_QUEUES, &1u32.to_ne_bytes());
        self.attribute(IFLA_NUM_RX_QUEUES, &1u32.to_ne_bytes());
    }
}

/// A netlink socket of the network namespace that its thread was in when it was opened.
pub(crate) struct Socket(OwnedFd);

impl Socket {
    pub fn open() -> io::Result<Self> {
        Self::of(None) // NETLINK_ROUTE is protocol 0
    }

    /// For `sock_diag(7)`.
    pub fn open_diagnosis() -> io::Result<Self> {
        Self::of(Protocol::from_raw(NETLINK_SOCK_DIAG.try_into().map_err(io::Error::other)?).into())
    }

    fn of(protocol: Option<Protocol>) -> io::Result<Self> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        Ok(Self(rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?))
    }

    /// Asks for all that the kernel has of a kind, and hands on the payload of up to `most` of them. If there were more, the
    /// socket is to be used no more.
    pub fn dump(&self, kind: u16, body: &[u8], most: usize, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut ask = Batch::default();
        ask.message_with(kind, libc::NLM_F_REQUEST | libc::NLM_F_DUMP, |m| m.raw(body));
        rustix::net::send(&self.0, &ask.bytes, SendFlags::empty())?;
        let mut buffer = vec![0; DUMP_BUFFER];
        let mut count = 0;
        loop {
            let (length, _) = rustix::net::recv(&self.0, &mut buffer, RecvFlags::empty())?;
            let mut rest = &buffer[..length];
            if rest.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            while let Some((kind, payload, next)) = split_message(rest) {
                match kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        let code = payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                        return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                    }
                    _ if count == most => return Ok(()),
                    _ => each(payload),
                }
                count += 1;
                rest = next;
            }
        }
    }

    /// Sends the batch and waits for all answers. The first refusal is the error; later requests were tried too.
    pub fn send(&self, batch: &Batch) -> io::Result<()> {
        rustix::net::send(&self.0, &batch.bytes, SendFlags::empty())?;
        let mut buffer = vec![0u8; 16 * 1024];
        let mut outcome = Ok(());
        let mut left = batch.count;
        while left > 0 {
            let (length, _) = rustix::net::recv(&self.0, &mut buffer, RecvFlags::empty())?;
            let mut rest = &buffer[..length];
            while let Some((kind, payload, next)) = split_message(rest) {
                if kind == NLMSG_ERROR && payload.len() >= 4 {
                    left = left.saturating_sub(1);
                    let code = i32::from_ne_bytes([payload[0], payload[1], payload[2], payload[3]]);
                    if code != 0 && outcome.is_ok() {
                        outcome = Err(io::Error::from_raw_os_error(-code));
                    }
                }
                rest = next;
            }
        }
        outcome
    }
}

/// The first message: its type, its payload, and what follows it.
pub(crate) fn split_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let header = bytes.get(..HEADER)?;
    let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let kind = u16::from_ne_bytes([header[4], header[5]]);
    let payload = bytes.get(HEADER..length)?;
    Some((kind, payload, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The value of an attribute.
pub(crate) fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let header = bytes.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = bytes.get(4..length)?;
        if u16::from_ne_bytes([header[2], header[3]]) == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_filled_in() {
        let mut batch = Batch::default();
        batch.add_host_route(Ipv4Addr::LOCALHOST, 7);
        batch.set_up(7);
        let first = u32::from_ne_bytes(batch.bytes[..4].try_into().expect("four bytes")) as usize;
        assert_eq!(first % 4, 0);
        let second = u32::from_ne_bytes(batch.bytes[first..first + 4].try_into().expect("four bytes")) as usize;
        assert_eq!(first + second, batch.bytes.len());
        assert_eq!(batch.count, 2);
    }

    #[test]
    fn attributes_are_found_in_whatever_comes() {
        let mut batch = Batch::default();
        batch.name("lo");
        batch.attribute(IFLA_MTU, &1500u32.to_ne_bytes());
        assert_eq!(attribute(&batch.bytes, IFLA_MTU), Some(1500u32.to_ne_bytes().as_slice()));
        assert_eq!(attribute(&batch.bytes, IFLA_IFNAME), Some(b"lo\0".as_slice()));
        assert_eq!(attribute(&batch.bytes, IFLA_LINKINFO), None);
        for hostile in [&[0u8; 64][..], &[1, 0, 3, 0], &[255, 255, 3, 0, 1], &[3, 0]] {
            assert_eq!(attribute(hostile, IFLA_LINKINFO), None);
        }
    }
}
