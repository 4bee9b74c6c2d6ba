//! How far a sandbox is confined. What each profile defends against is in SECURITY.md.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Root inside administers namespaces of its own: it mounts, sets up its network, runs containers.
    #[default]
    System,
    /// No mounts, no namespaces, few capabilities.
    Strict,
}

/// The word is not the name of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an isolation is system or strict")]
pub struct UnknownIsolation;

impl FromStr for Isolation {
    type Err = UnknownIsolation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "system" => Ok(Self::System),
            "strict" => Ok(Self::Strict),
            _ => Err(UnknownIsolation),
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::System => "system",
            Self::Strict => "strict",
        })
    }
}
