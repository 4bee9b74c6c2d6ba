//! The addresses of one server's sandboxes.

use std::net::Ipv4Addr;

/// A `/16`: the gateway is its first address, and sandbox number *n* has the *n*-th.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    first_octets: [u8; 2],
}

impl Subnet {
    /// `first.second.0.0/16`.
    pub const fn new(first: u8, second: u8) -> Self {
        Self { first_octets: [first, second] }
    }

    /// The host's address in it: default route and resolver of every sandbox.
    pub fn gateway(self) -> Ipv4Addr {
        self.address(1)
    }

    /// The address of sandbox `number`; numbers start at 2.
    pub fn address(self, number: u16) -> Ipv4Addr {
        let [first, second] = self.first_octets;
        let [third, fourth] = number.to_be_bytes();
        Ipv4Addr::new(first, second, third, fourth)
    }

    /// Whether it shares an address with `network/prefix`.
    pub fn overlaps(self, network: Ipv4Addr, prefix: u32) -> bool {
        let mask = u32::MAX.checked_shl(32 - prefix.min(16)).unwrap_or(0);
        u32::from(self.address(0)) & mask == u32::from(network) & mask
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/16", self.address(0))
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
        let subnet = Subnet::new(10, 200);
        assert!(subnet.overlaps(Ipv4Addr::new(10, 0, 0, 0), 8));
        assert!(subnet.overlaps(Ipv4Addr::new(10, 200, 7, 0), 24));
        assert!(!subnet.overlaps(Ipv4Addr::new(10, 201, 0, 0), 16));
        assert!(subnet.overlaps(Ipv4Addr::UNSPECIFIED, 0));
    }
}
