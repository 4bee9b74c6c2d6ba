//! The client at the other end of a connection, and how long wrong keys of its take to be refused.
//!
//! Whoever guesses waits for each answer: longer with each guess on the connection, and some time with each that came from
//! the same address lately. Right keys are answered at once, whoever else shares the address.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong keys on one connection that are refused at once: somebody's mistakes.
const MISTAKES: u32 = 3;
/// The same of one address, that many may share.
const MISTAKES_OF_ADDRESS: u32 = 20;
/// What the first guess on top waits, each further one twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
const LONGEST_PAUSE_OF_ADDRESS: Duration = Duration::from_secs(2);
/// An address is forgiven after that long without a guess.
const FORGIVEN: Duration = Duration::from_secs(60);
/// Addresses that are remembered.
const REMEMBERED: usize = 1024;

/// A client; in the extensions of each request that came on its connection.
#[derive(Clone)]
pub struct Visitor(Arc<Inner>);

struct Inner {
    address: IpAddr,
    wrong: AtomicU32,
    welcome: Box<dyn Fn() + Send + Sync>,
}

impl Visitor {
    /// A client of that address; `welcome` is called each time it shows that it may be here.
    pub fn new(address: IpAddr, welcome: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { address: network(address), wrong: AtomicU32::new(0), welcome: Box::new(welcome) }))
    }

    /// It showed a key, or a signature, that is right.
    pub fn welcome(&self) {
        (self.0.welcome)();
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Visitor").field(&self.0.address).finish()
    }
}

/// What one customer of a provider has: an IPv4 address, 64 bits of an IPv6 one.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

/// Wrong keys by address.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    of: Mutex<HashMap<IpAddr, (u32, Instant)>>,
}

impl Guesses {
    /// Notes a wrong key, and says how long its refusal takes.
    pub fn note(&self, visitor: &Visitor, at: Instant) -> Duration {
        let on_connection = visitor.0.wrong.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let of_address = self.count(visitor.0.address, at);
        pause(on_connection, MISTAKES, LONGEST_PAUSE).max(pause(
            of_address,
            MISTAKES_OF_ADDRESS,
            LONGEST_PAUSE_OF_ADDRESS,
        ))
    }

    fn count(&self, address: IpAddr, at: Instant) -> u32 {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.len() >= REMEMBERED && !of.contains_key(&address) {
            of.retain(|_, (_, last)| at.duration_since(*last) < FORGIVEN);
            let oldest = of.iter().min_by_key(|(_, (_, last))| *last).map(|(address, _)| *address);
            if let Some(oldest) = oldest.filter(|_| of.len() >= REMEMBERED) {
                of.remove(&oldest);
            }
        }
        let (count, last) = of.entry(address).or_insert((0, at));
        if at.duration_since(*last) >= FORGIVEN {
            *count = 0;
        }
        (*count, *last) = (count.saturating_add(1), at);
        *count
    }
}

fn pause(count: u32, free: u32, longest: Duration) -> Duration {
    match count.saturating_sub(free) {
        0 => Duration::ZERO,
        more => FIRST_PAUSE.saturating_mul(1 << (more - 1).min(10)).min(longest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor(address: &str) -> Visitor {
        Visitor::new(address.parse().expect("an address"), || {})
    }

    #[test]
    fn guesses_on_a_connection_wait_longer_and_longer() {
        let (guesses, visitor, at) = (Guesses::default(), visitor("192.0.2.1"), Instant::now());
        let waits: Vec<_> = (0..10).map(|_| guesses.note(&visitor, at).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 250, 500, 1000, 2000, 4000, 4000, 4000]);
    }

    #[test]
    fn an_address_waits_on_new_connections_too_and_is_forgiven() {
        let (guesses, at) = (Guesses::default(), Instant::now());
        for _ in 0..MISTAKES_OF_ADDRESS {
            assert_eq!(guesses.note(&visitor("2001:db8::1"), at), Duration::ZERO);
        }
        assert_eq!(guesses.note(&visitor("2001:db8::2"), at), FIRST_PAUSE);
        assert_eq!(guesses.note(&visitor("2001:db8:0:1::1"), at), Duration::ZERO);
        assert_eq!(guesses.note(&visitor("2001:db8::3"), at + FORGIVEN), Duration::ZERO);
    }

    #[test]
    fn addresses_are_remembered_up_to_a_bound() {
        let (guesses, at) = (Guesses::default(), Instant::now());
        for number in 0..5000u32 {
            let address = std::net::Ipv4Addr::from_bits(number).into();
            guesses.note(&Visitor::new(address, || {}), at + Duration::from_millis(number.into()));
        }
        assert!(guesses.of.lock().expect("not poisoned").len() <= REMEMBERED);
    }
}
