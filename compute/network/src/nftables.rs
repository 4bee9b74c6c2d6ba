//! Changes elements of nftables sets by netlink, many in one transaction, without starting a program.
//!
//! Formats: `linux/netfilter/nfnetlink.h`, `linux/netfilter/nf_tables.h`.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use crate::netlink::{ACKNOWLEDGE, CREATE, ERROR, Messages, REQUEST, code, messages};

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;
const NEW_ELEMENT: u16 = SUBSYSTEM << 8 | 12;
const GET_ELEMENT: u16 = SUBSYSTEM << 8 | 13;
const DELETE_ELEMENT: u16 = SUBSYSTEM << 8 | 14;
const FAMILY_INET: u8 = 1;
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_TIMEOUT: u16 = 4;
const ELEMENT_KEY_END: u16 = 10;
const DATA_VALUE: u16 = 1;

/// One element: its key, and the last key of its range where the set holds ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    pub key: Vec<u8>,
    pub key_end: Option<Vec<u8>>,
}

/// Whether a set of a table of the family `inet` has an element. Much cheaper than a change that fails, for which the kernel waits
/// until no CPU looks at what it undoes.
pub(crate) fn contains(table: &str, set: &str, element: &Element) -> io::Result<bool> {
    let mut request = Messages::default();
    request.message(GET_ELEMENT, REQUEST, FAMILY_INET, 0, |m| {
        m.text(LIST_TABLE, table);
        m.text(LIST_SET, set);
        m.nest(LIST_ELEMENTS, |m| m.nest(ELEMENT, |m| m.nest(ELEMENT_KEY, |m| m.attribute(DATA_VALUE, &element.key))));
    });
    let socket = open()?;
    rustix::net::send(&socket, request.bytes(), SendFlags::empty())?;
    let mut buffer = vec![0; 4096];
    let (length, _) = rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
    match messages(&buffer[..length]).next() {
        Some((header, body)) if header.kind == ERROR => {
            match io::Error::from_raw_os_error(-code(body).unwrap_or_default()) {
                error if error.kind() == io::ErrorKind::NotFound => Ok(false),
                error => Err(error),
            }
        }
        Some(_) => Ok(true),
        None => Err(io::Error::other("no answer of nftables")),
    }
}

fn open() -> io::Result<OwnedFd> {
    let protocol = Some(netlink::NETFILTER);
    Ok(rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?)
}

/// Changes that happen together or not at all.
pub(crate) struct Transaction<'a> {
    table: &'a str,
    messages: Messages,
    /// Messages that the kernel answers.
    answers: u32,
}

impl<'a> Transaction<'a> {
    /// On a table of the family `inet`.
    pub fn new(table: &'a str) -> Self {
        let mut transaction = Self { table, messages: Messages::default(), answers: 0 };
        transaction.messages.message(BATCH_BEGIN, REQUEST, 0, SUBSYSTEM, |_| {});
        transaction
    }

    pub fn add(&mut self, set: &str, elements: &[Element]) {
        self.change(NEW_ELEMENT, CREATE, set, elements, None);
    }

    /// Elements that go on their own after so long.
    pub fn add_for(&mut self, set: &str, elements: &[Element], lifetime: Duration) {
        self.change(NEW_ELEMENT, CREATE, set, elements, Some(lifetime));
    }

    /// The elements must be there.
    pub fn delete(&mut self, set: &str, elements: &[Element]) {
        self.change(DELETE_ELEMENT, 0, set, elements, None);
    }

    /// Sends everything and waits for the verdict.
    pub fn commit(mut self) -> io::Result<()> {
        if self.answers == 0 {
            return Ok(());
        }
        self.messages.message(BATCH_END, REQUEST, 0, SUBSYSTEM, |_| {});
        let socket = open()?;
        rustix::net::send(&socket, self.messages.bytes(), SendFlags::empty())?;
        let mut buffer = vec![0; 16 * 1024];
        let mut left = self.answers;
        while left > 0 {
            let (length, _) = rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
            for (_, body) in messages(&buffer[..length]).filter(|(header, _)| header.kind == ERROR) {
                match code(body) {
                    Some(0) => left = left.saturating_sub(1),
                    // The kernel undoes the whole transaction.
                    code => return Err(io::Error::from_raw_os_error(-code.unwrap_or(0))),
                }
            }
        }
        Ok(())
    }

    fn change(&mut self, kind: u16, flags: u16, set: &str, elements: &[Element], lifetime: Option<Duration>) {
        if elements.is_empty() {
            return;
        }
        let table = self.table;
        self.answers += 1;
        self.messages.message(kind, REQUEST | ACKNOWLEDGE | flags, FAMILY_INET, 0, |m| {
            m.text(LIST_TABLE, table);
            m.text(LIST_SET, set);
            m.nest(LIST_ELEMENTS, |m| {
                for element in elements {
                    m.nest(ELEMENT, |m| {
                        m.nest(ELEMENT_KEY, |m| m.attribute(DATA_VALUE, &element.key));
                        if let Some(end) = &element.key_end {
                            m.nest(ELEMENT_KEY_END, |m| m.attribute(DATA_VALUE, end));
                        }
                        if let Some(lifetime) = lifetime {
                            let milliseconds = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
                            m.attribute(ELEMENT_TIMEOUT, &milliseconds.to_be_bytes());
                        }
                    });
                }
            });
        });
    }
}
