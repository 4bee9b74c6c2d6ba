//! The network around the sandboxes of one server: which addresses they get, what they may reach, who resolves names.
//!
//! The interfaces themselves are made by `sebring-runtime`, one pair per sandbox. Here stands what all of them share.
#![forbid(unsafe_code)]

mod answer;
mod asked;
pub mod claim;
mod config;
mod conntrack;
mod denials;
pub mod egress;
pub mod elements;
mod endings;
mod forwarding;
mod inspect;
pub mod links;
mod names;
mod netlink;
mod network;
mod nftables;
mod places;
pub mod policy;
mod refused;
pub mod resolver;
mod source;
mod subnet;
mod unreachable;
mod upstream;

pub use claim::Claim;
pub use config::{NetworkConfig, SSH_PORT};
pub use egress::Confined;
pub use links::{Links, Member};
pub use network::Network;
pub use subnet::Subnet;

/// All that reads bytes which sandboxes, and those they talk to, could have made up; public to be fuzzed.
pub mod untrusted {
    pub use crate::answer::Answer;
    pub use crate::asked::Asked;
    pub use crate::inspect::{Answered, Said, answered, host, length, server_name, speaks};
    pub use crate::refused::Head;
}

/// The network could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("{0}")]
    NoSubnet(String),
    #[error("nftables refused the rules, is the package nftables installed and the kernel's support there? {0}")]
    Policy(String),
    #[error("the sandbox that it is to be linked to has {} running ones linked to it: delete some", links::CHILDREN)]
    GroupFull,
    #[error("{what}: {source}")]
    Io { what: &'static str, source: std::io::Error },
}

impl NetworkError {
    fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}
