//! What the operator of a server decides about the network of its sandboxes.

use std::net::SocketAddr;

use ipnet::Ipv4Net;

use crate::Subnet;

/// Where SSH listens, unless told.
pub const SSH_PORT: u16 = 22;

/// Settings of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Where sandboxes get their addresses from; as before, or the place's own /16, when absent.
    pub addresses: Option<Subnet>,
    /// What no sandbox reaches, whatever its owner allows.
    pub protected: Vec<Ipv4Net>,
    /// Who resolves names for the sandboxes; the host's own resolvers when there is none.
    pub resolvers: Vec<SocketAddr>,
    /// Whether sandboxes that may reach listed ranges only, and no names, have names resolved.
    pub names_for_ranges: bool,
    /// Ports where what names opened may speak SSH.
    pub ssh_ports: Vec<u16>,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            addresses: None,
            protected: Vec::new(),
            resolvers: Vec::new(),
            names_for_ranges: false,
            ssh_ports: vec![SSH_PORT],
        }
    }
}
