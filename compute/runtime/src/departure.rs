//! What keeps a network namespace after its last process: memory that no limit counts any more, behind an address that is to
//! be used again.
//!
//! A namespace lives as long as a socket in it, and a closed socket as long as what it has sent and nobody has taken. Packets
//! wait in the queueing discipline of an interface, at whatever rate root inside has set; TCP keeps what its peer has not
//! acknowledged, for as long as root inside has set. Interfaces that are down hold no packets, and sockets of TCP can be
//! ended (`sock_diag(7)`).

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::error::{Context, RuntimeError};
use crate::link::Inside;
use crate::netlink::{Batch, Socket};

/// Interfaces, and connections of each family, that are looked at. More can't be needed by anybody, and each costs us.
const MOST: usize = 4096;
/// Requests whose answers fit the buffer of a socket: some two hundred do.
const AT_ONCE: usize = 128;

/// The network namespace that this thread is in: the host's, to which those who look at others come back.
pub fn host() -> Result<OwnedFd, RuntimeError> {
    Ok(File::open("/proc/thread-self/ns/net").step("descriptor of the host's network")?.into())
}

/// How many sockets keep a network namespace, those included that were closed and wait for the end of what they have sent.
/// Takes no lock of the kernel's.
pub fn sockets(namespace: BorrowedFd<'_>, host: BorrowedFd<'_>) -> Result<u64, RuntimeError> {
    let _inside = Inside::enter(namespace, host)?;
    let text = std::fs::read_to_string("/proc/thread-self/net/sockstat").step("number of sockets")?;
    let used = text.lines().find_map(|line| line.strip_prefix("sockets: used ")?.trim().parse().ok());
    used.ok_or(io::ErrorKind::InvalidData.into())
        .map_err(|error: io::Error| RuntimeError::new("number of sockets", error))
}

/// Makes the network namespace of an ended sandbox drop what would keep it. Blocks for milliseconds.
pub fn clear(namespace: BorrowedFd<'_>, host: BorrowedFd<'_>) -> Result<(), RuntimeError> {
    let (routes, sockets) = {
        let _inside = Inside::enter(namespace, host)?;
        (Socket::open(), Socket::open_diagnosis())
    };
    // Sockets stay in the namespace they were opened in.
    let packets = routes.and_then(|socket| drop_packets(&socket)).step("packets that wait in the sandbox's network");
    let connections = sockets.and_then(|socket| end_connections(&socket)).step("connections of the sandbox");
    packets.and(connections)
}

/// Takes all interfaces down.
fn drop_packets(socket: &Socket) -> io::Result<()> {
    let mut indices = Vec::new();
    socket.dump(libc::RTM_GETLINK, &[0; 16], MOST, |link| {
        // ifinfomsg: the index comes after family, padding and type.
        indices.extend(link.get(4..8).and_then(|bytes| bytes.first_chunk()).map(|bytes| i32::from_ne_bytes(*bytes)));
    })?;
    indices.chunks(AT_ONCE).try_for_each(|some| {
        let mut batch = Batch::default();
        some.iter().for_each(|&index| batch.set_down(index));
        socket.send(&batch)
    })
}

/// Ends what TCP has not finished; all of it belongs to nobody.
fn end_connections(socket: &Socket) -> io::Result<()> {
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut found = Vec::new();
        let dumped = socket.dump(SOCK_DIAG_BY_FAMILY, &request(family, UNFINISHED, &[0; ID]), MOST, |connection| {
            // inet_diag_msg: family, state, timer and retransmissions come before the addresses.
            found.extend(connection.get(4..4 + ID).and_then(|id| <[u8; ID]>::try_from(id).ok()));
        });
        match dumped {
            Ok(()) => {}
            // A kernel without this family, or without diagnosis.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EOPNOTSUPP)) => continue,
            Err(error) => return Err(error),
        }
        for some in found.chunks(AT_ONCE) {
            let mut batch = Batch::default();
            some.iter().for_each(|id| batch.request(SOCK_DESTROY, &request(family, UNFINISHED, id)));
            match socket.send(&batch) {
                // One has ended by itself; the kernel can't end any.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EOPNOTSUPP)) => {}
                other => other?,
            }
        }
    }
    Ok(())
}

// linux/sock_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
/// Bytes of an `inet_diag_sockid`.
const ID: usize = 48;
/// Bits of the states of TCP (net/tcp_states.h) in which a socket without owner can be: not of closed ones, those that wait
/// for late packets, and listeners.
const UNFINISHED: u32 = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 8) | (1 << 9) | (1 << 11);

/// An `inet_diag_req_v2`.
fn request(family: i32, states: u32, id: &[u8; ID]) -> Vec<u8> {
    let mut bytes = vec![family as u8, libc::IPPROTO_TCP as u8, 0, 0];
    bytes.extend_from_slice(&states.to_ne_bytes());
    bytes.extend_from_slice(id);
    bytes
}
