//! What the operator of a server decides about the network of its sandboxes.

use std::net::SocketAddr;

use ipnet::Ipv4Net;

use crate::Subnet;

/// Settings of one server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Where sandboxes get their addresses from; as before, or the place's own /16, when absent.
    pub addresses: Option<Subnet>,
    /// What no sandbox reaches, whatever its owner allows.
    pub protected: Vec<Ipv4Net>,
    /// Who resolves names for the sandboxes; the host's own resolvers when there is none.
    pub resolvers: Vec<SocketAddr>,
}
