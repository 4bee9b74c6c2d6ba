//! What the kernel remembers of sandboxes that have ended: connections that stay noted for days, count against everybody, and
//! would let their far ends send to whoever has the address next.
//!
//! Those that never connected, which are many, cost one question to the kernel. For all others of a second the table of
//! connections is looked through once, on a thread of its own.

use std::collections::HashSet;
use std::fmt::{self, Debug, Formatter};
use std::io;
use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::nftables::{self, Element, Transaction};
use crate::policy::{BEGAN, CONNECTIONS};
use crate::{NetworkError, conntrack};

/// From one look through the table to the next.
const PAUSE: Duration = Duration::from_secs(1);
/// After so many looks that failed the connections are left to their own time.
const TRIES: u32 = 5;

/// Makes the kernel forget. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Endings(Sender<Ended>);

struct Ended {
    address: Ipv4Addr,
    /// Dropped when all is forgotten.
    held: Box<dyn Send>,
}

impl Debug for Ended {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Ended").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Endings {
    pub fn start(table: String) -> Result<Self, NetworkError> {
        let (sender, ended) = channel();
        let thread = std::thread::Builder::new().name("endings".into()).spawn(move || work(&table, &ended));
        thread.map_err(NetworkError::io("thread for the connections of ended sandboxes"))?;
        Ok(Self(sender))
    }

    /// Forgets a sandbox whose interface is gone, or whose processes are, and drops `held` then.
    pub fn forget(&self, address: Ipv4Addr, held: Box<dyn Send>) {
        // The thread ends with the last of us.
        let _ = self.0.send(Ended { address, held });
    }
}

fn work(table: &str, ended: &Receiver<Ended>) {
    let mut waiting: Vec<Ended> = Vec::new();
    let (mut next, mut failures) = (Instant::now(), 0);
    loop {
        let came = if waiting.is_empty() {
            ended.recv().ok()
        } else {
            ended.recv_timeout(next.saturating_duration_since(Instant::now())).ok()
        };
        match came {
            Some(one) => match has_connected(table, one.address) {
                Ok(false) => drop(one.held),
                Ok(true) => waiting.push(one),
                Err(error) => {
                    tracing::error!(address = %one.address, %error, "it is not known whether a sandbox had connections");
                    waiting.push(one);
                }
            },
            None if waiting.is_empty() => return,
            None => {}
        }
        if !waiting.is_empty() && Instant::now() >= next {
            let addresses: HashSet<Ipv4Addr> = waiting.iter().map(|one| one.address).collect();
            failures = match conntrack::forget(&addresses) {
                Ok(()) => 0,
                Err(error) => {
                    tracing::error!(%error, "connections of ended sandboxes are still noted");
                    failures + 1
                }
            };
            // A kernel that can't do it would keep every address for ever.
            if failures == 0 || failures > TRIES {
                waiting.clear();
                failures = 0;
            }
            next = Instant::now() + PAUSE;
        }
    }
}

/// Whether it has begun a connection, which is forgotten herewith.
fn has_connected(table: &str, address: Ipv4Addr) -> io::Result<bool> {
    let element = Element { key: address.octets().to_vec(), key_end: None };
    if !nftables::contains(table, BEGAN, &element)? {
        return Ok(false);
    }
    let elements = [element];
    let mut transaction = Transaction::new(table);
    transaction.delete(BEGAN, &elements);
    // The kernel may have taken this one out, which could not be deleted then.
    transaction.add(CONNECTIONS, &elements);
    transaction.delete(CONNECTIONS, &elements);
    transaction.commit().map(|()| true)
}
