//! [`Network`]: everything around the sandboxes of one server, in force as long as the server runs.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use sebring_types::runner::Egress;
use sebring_types::{Denial, SandboxId};

use crate::config::NetworkConfig;
use crate::denials::Denials;
use crate::egress::{Confined, OPENED};
use crate::endings::Endings;
use crate::inspect::Inspector;
use crate::nftables::Transaction;
use crate::resolver::Resolver;
use crate::source::Sources;
use crate::unreachable::Unreachable;
use crate::{Claim, Links, NetworkError, conntrack, policy, refused};

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Network {
    parts: Arc<Parts>,
    endings: Endings,
}

/// What all that looks at the traffic of sandboxes shares.
#[derive(Debug)]
pub(crate) struct Parts {
    pub table: String,
    pub sources: Sources,
    pub unreachable: Unreachable,
    pub links: Arc<Links>,
    pub names_for_ranges: bool,
    pub ssh_ports: Vec<u16>,
    denials: Denials,
}

impl Network {
    /// Puts the rules in force in place of an earlier server's, and serves. `running` are the sandboxes that run already, and `links` who of them reach
    /// each other;
    /// `sandboxes` holds a directory for each. Needs a Tokio runtime.
    pub async fn start(
        claim: Claim,
        config: &NetworkConfig,
        sandboxes: &Path,
        running: &[Confined],
        links: Arc<Links>,
    ) -> Result<Self, NetworkError> {
        let parts = Arc::new(Parts {
            table: policy::table(claim),
            sources: Sources::default(),
            unreachable: Unreachable::new(claim.subnet, &config.protected),
            links,
            names_for_ranges: config.names_for_ranges,
            ssh_ports: config.ssh_ports.clone(),
            denials: Denials::start(sandboxes)?,
        });
        for confined in running {
            parts.sources.insert(confined, &parts.denials);
        }
        let gateway = claim.subnet.gateway();
        let inspector = Inspector::bind(gateway, parts.clone()).await?;
        policy::install(claim, parts.unreachable.protected(), inspector.port(), running, &parts.links)?;
        // Of sandboxes that ended while no server was there to see it.
        let ended = (0..=claim.subnet.last()).map(|number| claim.subnet.address(number));
        let ended = ended.filter(|&address| parts.sources.get(address).is_none()).collect();
        if let Err(error) = conntrack::forget(&ended) {
            tracing::warn!(%error, "connections of ended sandboxes may be noted until their time is over");
        }
        let resolver = Resolver::bind(gateway, &config.resolvers, parts.clone()).await?;
        refused::watch(claim, parts.clone())?;
        tokio::spawn(inspector.run());
        tokio::spawn(resolver.run());
        let endings = Endings::start(parts.table.clone())?;
        Ok(Self { parts, endings })
    }

    /// Puts the rule of a sandbox in force, in place of the one it had; connections that it forbids end. Blocks.
    pub fn confine(&self, confined: &Confined) -> Result<(), NetworkError> {
        let parts = &self.parts;
        let to = &confined.egress;
        let changed = match parts.sources.get(confined.source) {
            Some(source) => source.change(to.clone(), |before, closed| {
                let mut transaction = Transaction::new(&parts.table);
                // Those whose time is over are gone already, which can't be deleted.
                transaction.add(OPENED, closed);
                transaction.delete(OPENED, closed);
                confined.replace(before, &mut transaction);
                transaction.commit()
            }),
            None => {
                let mut transaction = Transaction::new(&parts.table);
                confined.replace(&Egress::Open, &mut transaction);
                transaction.commit().map(|()| parts.sources.insert(confined, &parts.denials))
            }
        };
        changed.map_err(NetworkError::io("network rules of a sandbox"))
    }

    /// Takes the rule of a sandbox out of force, which must have ended, so that its address can be used again. Blocks.
    pub fn lift(&self, address: Ipv4Addr) -> Result<(), NetworkError> {
        let Some(source) = self.parts.sources.remove(address) else { return Ok(()) };
        let lifted = source.end(|before, closed| {
            let mut transaction = Transaction::new(&self.parts.table);
            transaction.add(OPENED, closed);
            transaction.delete(OPENED, closed);
            Confined { source: address, sandbox: source.sandbox, egress: Egress::Open }
                .replace(before, &mut transaction);
            transaction.commit()
        });
        lifted.map_err(NetworkError::io("network rules of an ended sandbox"))
    }

    /// Makes the kernel forget the connections of a sandbox that has ended, within seconds. The address must not be given to
    /// another until `held` is dropped.
    pub fn forget(&self, address: Ipv4Addr, held: impl Send + 'static) {
        self.endings.forget(address, Box::new(held));
    }

    /// What a sandbox was not let reach lately, the oldest first. Blocks.
    pub fn denials(&self, sandbox: SandboxId) -> io::Result<Vec<Denial>> {
        self.parts.denials.read(sandbox)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{SSH_PORT, Subnet};

    /// Stands for a sandbox.
    pub const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

    /// A network without rules, with one sandbox that may reach everything.
    pub fn parts() -> Parts {
        parts_with(Egress::Open)
    }

    pub fn parts_with(egress: Egress) -> Parts {
        let links = Links::new(Claim { place: 99, subnet: Subnet::new(10, 209) }, []);
        let parts = Parts {
            links: Arc::new(links),
            names_for_ranges: false,
            ssh_ports: vec![SSH_PORT],
            table: "sebring_test".to_owned(),
            sources: Sources::default(),
            unreachable: Unreachable::new(Subnet::new(10, 209), &[]),
            denials: Denials::start(&std::env::temp_dir()).expect("a thread"),
        };
        parts.sources.insert(&Confined { source: LOOPBACK, sandbox: SandboxId::generate(), egress }, &parts.denials);
        parts
    }
}
