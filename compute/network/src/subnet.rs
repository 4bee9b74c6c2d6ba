//! The addresses of one server's sandboxes.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnet::Ipv4Net;

use crate::NetworkError;
use crate::unreachable::FORBIDDEN;

/// How long the prefix of a network may be: some dozen sandboxes fit into the smallest.
const PREFIXES: RangeInclusive<u8> = 8..=26;

/// The gateway has its first address, and sandbox number *n* the *n*-th.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    network: Ipv4Net,
}

impl Subnet {
    /// `first.second.0.0/16`.
    pub const fn new(first: u8, second: u8) -> Self {
        Self { network: Ipv4Net::new_assert(Ipv4Addr::new(first, second, 0, 0), 16) }
    }

    /// A network of the operator's choice.
    pub fn of(network: Ipv4Net) -> Result<Self, NetworkError> {
        let wrong =
            |why: &str| Err(NetworkError::NoSubnet(format!("sandboxes can't have addresses of {network}: {why}")));
        let network = network.trunc();
        // RFC 6598.
        let shared = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10);
        if !PREFIXES.contains(&network.prefix_len()) {
            return wrong("give a prefix length of /8 to /26");
        }
        let private = network.network().is_private() && network.broadcast().is_private();
        if !private && !shared.contains(&network) {
            return wrong("give a private network (RFC 1918), or one of 100.64.0.0/10");
        }
        if FORBIDDEN.iter().any(|forbidden| network.contains(forbidden) || forbidden.contains(&network)) {
            return wrong("it holds an address of a metadata service");
        }
        Ok(Self { network })
    }

    /// The host's address in it: default route and resolver of every sandbox.
    pub fn gateway(self) -> Ipv4Addr {
        self.address(1)
    }

    /// The address of sandbox `number`; numbers start at 2 and end at [`Self::last`].
    pub fn address(self, number: u16) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network.network()) + u32::from(number))
    }

    /// The last number that has an address.
    pub fn last(self) -> u16 {
        u16::try_from(u32::from(self.network.hostmask()) - 1).unwrap_or(u16::MAX)
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        self.network.contains(&address)
    }

    /// Whether both have an address in common.
    pub fn overlaps(self, other: Ipv4Net) -> bool {
        self.network.contains(&other) || other.contains(&self.network)
    }

    pub fn network(self) -> Ipv4Net {
        self.network
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.network.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_addresses_across_octets() {
        let subnet = Subnet::new(10, 200);
        assert_eq!(subnet.to_string(), "10.200.0.0/16");
        assert_eq!(subnet.gateway(), Ipv4Addr::new(10, 200, 0, 1));
        assert_eq!(subnet.address(258), Ipv4Addr::new(10, 200, 1, 2));
    }

    #[test]
    fn overlap_works_both_ways() {
        let overlaps = |network: &str| Subnet::new(10, 200).overlaps(network.parse().expect("a network"));
        assert!(overlaps("10.0.0.0/8") && overlaps("10.200.7.0/24") && overlaps("0.0.0.0/0"));
        assert!(!overlaps("10.201.0.0/16"));
    }

    #[test]
    fn networks_are_checked() {
        let of = |network: &str| Subnet::of(network.parse().expect("a network"));
        let small = of("192.168.7.64/26").expect("a private network");
        assert_eq!((small.gateway(), small.last()), (Ipv4Addr::new(192, 168, 7, 65), 62));
        assert_eq!(of("10.0.0.0/8").expect("a private network").last(), u16::MAX);
        assert_eq!(of("172.16.9.1/20").expect("a private network").to_string(), "172.16.0.0/20");
        assert!(of("100.64.0.0/16").is_ok());
        for (network, why) in [
            ("10.0.0.0/7", "/8 to /26"),
            ("10.0.0.0/27", "/8 to /26"),
            ("192.0.2.0/24", "private"),
            ("172.0.0.0/8", "private"),
            ("127.0.0.0/8", "private"),
            ("100.100.0.0/16", "metadata"),
        ] {
            let error = of(network).expect_err(network).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
