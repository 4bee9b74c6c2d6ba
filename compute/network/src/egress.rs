//! What single sandboxes may reach: elements of three sets that the rules of [`crate::policy`] look at.
//!
//! A packet is judged each time, not once per connection, so a change ends what it forbids.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sebring_types::runner::Egress;

use crate::nftables::{Element, Transaction};
use crate::{Claim, NetworkError, policy};

/// Sources that reach nothing, not even the resolver.
pub(crate) const CLOSED: &str = "closed";
/// Sources that reach only what [`ALLOWED`] says.
pub(crate) const CONFINED: &str = "confined";
/// Source and destination.
pub(crate) const ALLOWED: &str = "allowed";

/// The rule of one running sandbox, in force until it is replaced or lifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confined {
    pub source: Ipv4Addr,
    pub egress: Egress,
}

impl Confined {
    /// Puts `self` in force in place of `before`, in one step.
    pub fn replace(&self, claim: Claim, before: &Egress) -> Result<(), NetworkError> {
        if self.egress == *before {
            return Ok(());
        }
        let table = policy::table(claim);
        let mut transaction = Transaction::new(&table);
        for (set, elements) in elements(self.source, before) {
            transaction.delete(set, &elements);
        }
        for (set, elements) in elements(self.source, &self.egress) {
            transaction.add(set, &elements);
        }
        transaction.commit().map_err(NetworkError::io("network rules of a sandbox"))
    }

    /// Takes the rule out of force; the sandbox must have ended.
    pub fn lift(self, claim: Claim) -> Result<(), NetworkError> {
        Self { source: self.source, egress: Egress::Open }.replace(claim, &self.egress)
    }

    /// The rule in the words of `nft`, for the ruleset that a server starts with.
    pub(crate) fn declare(&self, table: &str) -> String {
        let source = self.source;
        let element = |set: &str, key: String| format!("add element inet {table} {set} {{ {key} }}\n");
        match &self.egress {
            Egress::Open => String::new(),
            Egress::Closed => element(CLOSED, source.to_string()),
            Egress::Only(ranges) => Ipv4Net::aggregate(ranges)
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
        Egress::Only(ranges) => {
            // The set refuses ranges that overlap.
            let ranges = Ipv4Net::aggregate(ranges);
            let pair = |address: Ipv4Addr| [source.octets(), address.octets()].concat();
            let allowed =
                ranges.iter().map(|r| Element { key: pair(r.network()), key_end: Some(pair(r.broadcast())) }).collect();
            vec![(CONFINED, single()), (ALLOWED, allowed)]
        }
    }
}
