//! News of interfaces that are gone, from the kernel itself (`rtnetlink(7)`, the group of links).

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::netlink::{IFLA_IFNAME, attribute, split_message};

/// `RTNLGRP_LINK` as a bit of the groups of an address.
const LINKS: u32 = 1;
/// Bytes of an `ifinfomsg`, before the attributes.
const INTERFACE: usize = 16;
/// More than the kernel says of one interface.
const BUFFER: usize = 16 * 1024;

/// What became of interfaces of the network namespace in which this was opened.
#[derive(Debug)]
pub struct Removals(AsyncFd<OwnedFd>);

/// One piece of news.
#[derive(Debug, PartialEq, Eq)]
pub enum Removal {
    /// The interface of that name is gone.
    Of(String),
    /// Some are gone of which nothing was heard.
    Missed,
}

impl Removals {
    /// Needs a Tokio runtime.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        only_removals(&socket)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, LINKS))?;
        // SAFETY: the AsyncFd owns the socket, whose number stays the same until it is dropped.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        Ok(Self(socket.map_err(io::Error::from)?))
    }

    /// The next ones, as many as the kernel has told in one message.
    pub async fn next(&self) -> io::Result<Vec<Removal>> {
        let mut buffer = [0; BUFFER];
        let received = self
            .0
            .async_io(Interest::READABLE, |socket| Ok(rustix::net::recv(socket, &mut buffer, RecvFlags::empty())?.0));
        match received.await {
            Ok(length) => Ok(removed(&buffer[..length])),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(vec![Removal::Missed]),
            Err(error) => Err(error),
        }
    }
}

fn removed(mut messages: &[u8]) -> Vec<Removal> {
    let mut found = Vec::new();
    while let Some((kind, payload, rest)) = split_message(messages) {
        messages = rest;
        if kind != libc::RTM_DELLINK {
            continue;
        }
        let name = payload.get(INTERFACE..).and_then(|attributes| attribute(attributes, IFLA_IFNAME));
        let name = name.and_then(|name| std::ffi::CStr::from_bytes_until_nul(name).ok()?.to_str().ok());
        found.extend(name.map(|name| Removal::Of(name.to_owned())));
    }
    found
}

/// Lets only messages through that tell of removals, a small part of all: the others would wake us several times for each
/// interface.
fn only_removals(socket: &OwnedFd) -> io::Result<()> {
    // bpf(2) in its classic form, as in linux/filter.h. Numbers are read in network byte order, and these are in the host's.
    const LOAD_HALF: u16 = 0x28;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    /// Where a `nlmsghdr` has its type.
    const TYPE: u32 = 4;
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let filter = [
        instruction(LOAD_HALF, 0, 0, TYPE),
        instruction(EQUAL, 0, 1, u32::from(libc::RTM_DELLINK.to_be())),
        instruction(RETURN, 0, 0, u32::MAX),
        instruction(RETURN, 0, 0, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    let size = size_of_val(&program) as libc::socklen_t;
    // SAFETY: the option takes this structure, whose instructions live until the call is over and are only read.
    let attached = unsafe {
        let fd = std::os::fd::AsRawFd::as_raw_fd(socket);
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, (&raw const program).cast(), size)
    };
    if attached < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_whatever_comes() {
        let message = |kind: u16, name: &[u8]| {
            let padded = name.len().next_multiple_of(4);
            let mut bytes = ((16 + INTERFACE + 4 + padded) as u32).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10 + INTERFACE]);
            bytes.extend(((4 + name.len()) as u16).to_ne_bytes());
            bytes.extend(IFLA_IFNAME.to_ne_bytes());
            bytes.extend(name);
            bytes.resize(16 + INTERFACE + 4 + padded, 0);
            bytes
        };
        let of = |name: &str| Removal::Of(name.into());
        let both = [message(libc::RTM_DELLINK, b"one\0"), message(libc::RTM_DELLINK, b"another\0")].concat();
        assert_eq!(removed(&both), [of("one"), of("another")]);
        assert_eq!(removed(&message(libc::RTM_NEWLINK, b"one\0")), []);
        for hostile in [message(libc::RTM_DELLINK, b"no end"), vec![255; 64], vec![0; 64], both[..30].to_vec()] {
            assert_eq!(removed(&hostile), []);
        }
    }
}
