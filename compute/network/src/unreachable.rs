//! Addresses that no sandbox reaches, whatever its owner allows.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sebring_types::denial::Reason;

use crate::Subnet;

/// This network, loopback, link-local (where most clouds serve metadata), multicast and reserved ranges, and the metadata
/// addresses that lie elsewhere (Alibaba, Azure, Oracle).
pub(crate) const FORBIDDEN: [Ipv4Net; 7] = [
    range([0, 0, 0, 0], 8),
    range([127, 0, 0, 0], 8),
    range([169, 254, 0, 0], 16),
    range([224, 0, 0, 0], 3),
    range([100, 100, 100, 200], 32),
    range([168, 63, 129, 16], 32),
    range([192, 0, 0, 192], 32),
];

const fn range([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

/// What is known of such addresses without asking the kernel, which also knows the host's own and other servers'.
#[derive(Debug, Clone)]
pub(crate) struct Unreachable {
    subnet: Subnet,
    protected: Vec<Ipv4Net>,
}

impl Unreachable {
    pub fn new(subnet: Subnet, protected: &[Ipv4Net]) -> Self {
        Self { subnet, protected: Ipv4Net::aggregate(&protected.to_vec()) }
    }

    /// Ranges of the configuration, none inside another.
    pub fn protected(&self) -> &[Ipv4Net] {
        &self.protected
    }

    /// Why the address can't be reached; none when it may.
    pub fn reason(&self, address: Ipv4Addr) -> Option<Reason> {
        if FORBIDDEN.iter().any(|range| range.contains(&address)) || self.subnet.contains(address) {
            return Some(Reason::Forbidden);
        }
        self.protected.iter().any(|range| range.contains(&address)).then_some(Reason::Protected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_why() {
        let protected = ["10.1.0.0/16", "10.1.2.0/24"].map(|range| range.parse().expect("a range"));
        let unreachable = Unreachable::new(Subnet::new(10, 200), &protected);
        assert_eq!(unreachable.protected().len(), 1);
        let reason = |address: &str| unreachable.reason(address.parse().expect("an address"));
        for address in ["127.0.0.1", "169.254.169.254", "100.100.100.200", "255.255.255.255", "10.200.3.4", "0.0.0.0"] {
            assert_eq!(reason(address), Some(Reason::Forbidden), "{address}");
        }
        assert_eq!(reason("10.1.2.3"), Some(Reason::Protected));
        for address in ["192.0.2.1", "10.2.0.1", "10.201.0.1", "100.100.100.201"] {
            assert_eq!(reason(address), None, "{address}");
        }
    }
}
