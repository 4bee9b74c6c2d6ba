//! What single sandboxes may reach: elements of sets that the rules of [`crate::policy`] look at.
//!
//! A packet is judged each time, not once per connection, so a change ends what it forbids. Only connections to what names
//! opened are not judged so: they end at our inspector, which ends those that a change forbids.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sebring_types::SandboxId;
use sebring_types::runner::Egress;

use crate::nftables::{Element, Transaction};

/// Sources that reach nothing, not even the resolver.
pub(crate) const CLOSED: &str = "closed";
/// Sources that reach only what [`ALLOWED`] says.
pub(crate) const CONFINED: &str = "confined";
/// Source and destination, while an answer for an allowed name holds: TCP goes there by way of our inspector.
pub(crate) const OPENED: &str = "opened";
/// Source and destination.
pub(crate) const ALLOWED: &str = "allowed";

/// The rule of one running sandbox, in force until it is replaced or lifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confined {
    pub source: Ipv4Addr,
    pub sandbox: SandboxId,
    pub egress: Egress,
}

impl Confined {
    /// Adds to `transaction` what puts `self` in force in place of `before`.
    pub(crate) fn replace(&self, before: &Egress, transaction: &mut Transaction<'_>) {
        if self.egress == *before {
            return;
        }
        for (set, elements) in elements(self.source, before) {
            transaction.delete(set, &elements);
        }
        for (set, elements) in elements(self.source, &self.egress) {
            transaction.add(set, &elements);
        }
    }

    /// The rule in the words of `nft`, for the ruleset that a server starts with.
    pub(crate) fn declare(&self, table: &str) -> String {
        let source = self.source;
        let element = |set: &str, key: String| format!("add element inet {table} {set} {{ {key} }}\n");
        match &self.egress {
            Egress::Open => String::new(),
            Egress::Closed => element(CLOSED, source.to_string()),
            Egress::Only(ranges) | Egress::Named { ranges, .. } => Ipv4Net::aggregate(ranges)
                .iter()
                .map(|range| element(ALLOWED, format!("{source} . {range}")))
                .chain([element(CONFINED, source.to_string())])
                .collect(),
        }
    }
}

fn elements(source: Ipv4Addr, egress: &Egress) -> Vec<(&'static str, Vec<Element>)> {
    let single = || vec![Element { key: source.octets().to_vec(), key_end: None }];
    match egress {
        Egress::Open => Vec::new(),
        Egress::Closed => vec![(CLOSED, single())],
        Egress::Only(ranges) | Egress::Named { ranges, .. } => {
            // The set refuses ranges that overlap.
            let ranges = Ipv4Net::aggregate(ranges);
            let pair = |address: Ipv4Addr| [source.octets(), address.octets()].concat();
            let allowed =
                ranges.iter().map(|r| Element { key: pair(r.network()), key_end: Some(pair(r.broadcast())) }).collect();
            vec![(CONFINED, single()), (ALLOWED, allowed)]
        }
    }
}
