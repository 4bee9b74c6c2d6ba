//! Flags about the network of sandboxes.

use std::net::{IpAddr, SocketAddr};

use clap::Args;
use ipnet::Ipv4Net;
use sebring_runner::{NetworkConfig, SSH_PORT, Subnet};

/// Where resolvers listen, unless told.
const DNS: u16 = 53;

#[derive(Debug, Args)]
#[group(id = "network")]
pub struct Options {
    /// Give sandboxes addresses of this private network, /8 to /26. Kept until another is given, which is possible while no
    /// sandbox runs. A /16 of 10.200.0.0 to 10.215.255.255 when never given.
    #[arg(long = "sandbox-network", value_name = "CIDR", env = "SEBRING_SANDBOX_NETWORK")]
    addresses: Option<Ipv4Net>,
    /// Let no sandbox reach this network, whatever its owner allows. May be repeated.
    #[arg(long = "protect-network", value_name = "CIDR", env = "SEBRING_PROTECT_NETWORK", value_delimiter = ',')]
    protected: Vec<Ipv4Net>,
    /// Resolve the sandboxes' names by this server, ADDRESS or ADDRESS:PORT, instead of the host's resolvers. May be
    /// repeated; the next is asked when one does not answer.
    #[arg(long = "resolver", value_name = "ADDRESS", env = "SEBRING_RESOLVER", value_delimiter = ',', value_parser = resolver)]
    resolvers: Vec<SocketAddr>,
    /// Resolve any name for sandboxes whose owner lists IP ranges and no names. A question carries its name to whoever answers
    /// for it, so such a sandbox can tell a stranger something.
    #[arg(long = "resolve-for-ranges", env = "SEBRING_RESOLVE_FOR_RANGES")]
    names_for_ranges: bool,
    /// Let sandboxes speak SSH to names that their owner lists at this port, too, besides 22. May be repeated.
    #[arg(long = "ssh-port", value_name = "PORT", env = "SEBRING_SSH_PORT", value_delimiter = ',')]
    ssh_ports: Vec<u16>,
}

impl Options {
    pub fn config(&self) -> anyhow::Result<NetworkConfig> {
        Ok(NetworkConfig {
            addresses: self.addresses.map(Subnet::of).transpose()?,
            protected: self.protected.iter().map(Ipv4Net::trunc).collect(),
            resolvers: self.resolvers.clone(),
            names_for_ranges: self.names_for_ranges,
            ssh_ports: [&[SSH_PORT][..], &self.ssh_ports].concat(),
        })
    }
}

fn resolver(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS));
    address.or_else(|_| text.parse()).map_err(|_| "give an address, such as 192.0.2.53 or 192.0.2.53:5353".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_have_addresses() {
        assert_eq!(resolver("192.0.2.53"), Ok(([192, 0, 2, 53], 53).into()));
        assert_eq!(resolver("192.0.2.53:5353"), Ok(([192, 0, 2, 53], 5353).into()));
        assert_eq!(resolver("::1").map(|address| address.port()), Ok(53));
        for wrong in ["", "dns.example.com", "192.0.2.53:", "192.0.2"] {
            assert!(resolver(wrong).is_err(), "{wrong}");
        }
    }
}
