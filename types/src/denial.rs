//! What a sandbox was not let reach, for whoever owns it.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One attempt that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Denial {
    pub at: Timestamp,
    pub protocol: Protocol,
    /// The name that was asked for, as far as there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    pub reason: Reason,
    /// Refusals before this one that were too many to be noted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unnoted: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How it was tried, as far as was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Dns,
    Tls,
    Http,
    Ssh,
    Tcp,
    Udp,
    Icmp,
    Other,
}

/// Why it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The sandbox may reach nothing.
    BlockAll,
    /// The name is not in its domain allow list.
    NameNotAllowed,
    /// The address is neither in its network allow list nor an answer for an allowed name.
    AddressNotAllowed,
    /// No sandbox reaches it: the host, another sandbox, metadata services, reserved ranges.
    Forbidden,
    /// No sandbox reaches it: the configuration of the server says so.
    Protected,
    /// The connection does not say which name it is for.
    NoName,
    /// The address is open for an allowed name, but only to protocols that say the name.
    UnknownProtocol,
    /// More addresses at once than names may open.
    TooManyAddresses,
    /// More connections at once than can be looked at.
    TooManyConnections,
}
