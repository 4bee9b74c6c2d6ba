//! States and sizes of a sandbox, in the words of the public API.

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::DomainPattern;
use crate::runner::Egress;

/// What a sandbox is doing, as users see it. Who may set which state stands in `sebring-lifecycle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxState {
    Creating,
    Restoring,
    Destroyed,
    Destroying,
    Started,
    Stopped,
    Starting,
    Stopping,
    Error,
    BuildFailed,
    PendingBuild,
    BuildingSnapshot,
    Unknown,
    PullingSnapshot,
    Archived,
    Archiving,
    Resizing,
    Snapshotting,
    Forking,
    Pausing,
    Paused,
    Resuming,
}

impl SandboxState {
    /// Every state, in the order of the API's enum.
    pub const ALL: [Self; 22] = [
        Self::Creating,
        Self::Restoring,
        Self::Destroyed,
        Self::Destroying,
        Self::Started,
        Self::Stopped,
        Self::Starting,
        Self::Stopping,
        Self::Error,
        Self::BuildFailed,
        Self::PendingBuild,
        Self::BuildingSnapshot,
        Self::Unknown,
        Self::PullingSnapshot,
        Self::Archived,
        Self::Archiving,
        Self::Resizing,
        Self::Snapshotting,
        Self::Forking,
        Self::Pausing,
        Self::Paused,
        Self::Resuming,
    ];

    /// The name on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Restoring => "restoring",
            Self::Destroyed => "destroyed",
            Self::Destroying => "destroying",
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Error => "error",
            Self::BuildFailed => "build_failed",
            Self::PendingBuild => "pending_build",
            Self::BuildingSnapshot => "building_snapshot",
            Self::Unknown => "unknown",
            Self::PullingSnapshot => "pulling_snapshot",
            Self::Archived => "archived",
            Self::Archiving => "archiving",
            Self::Resizing => "resizing",
            Self::Snapshotting => "snapshotting",
            Self::Forking => "forking",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
            Self::Resuming => "resuming",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// What the user asked for; the lifecycle moves a sandbox's state towards it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DesiredState {
    Destroyed,
    Started,
    Stopped,
    Resized,
    Archived,
    Paused,
}

impl DesiredState {
    /// Every one, in the order of the API's enum.
    pub const ALL: [Self; 6] =
        [Self::Destroyed, Self::Started, Self::Stopped, Self::Resized, Self::Archived, Self::Paused];

    /// The name on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Destroyed => "destroyed",
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Resized => "resized",
            Self::Archived => "archived",
            Self::Paused => "paused",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// What a sandbox may use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Whole virtual CPUs.
    pub cpu: u32,
    /// Memory, GiB.
    pub memory: u32,
    /// Writable disk, GiB.
    pub disk: u32,
}

/// What the owner of a sandbox lets it reach, beside what no sandbox may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkSettings {
    /// Nothing at all; wins over the lists.
    #[serde(default)]
    pub block_all: bool,
    /// These ranges; everything when both lists are empty.
    #[serde(default)]
    pub allow_list: Vec<Ipv4Net>,
    /// These names, beside the ranges; no other name is resolved then.
    #[serde(default)]
    pub domains: Vec<DomainPattern>,
}

impl NetworkSettings {
    /// What follows for the runner.
    pub fn egress(&self) -> Egress {
        match self {
            Self { block_all: true, .. } => Egress::Closed,
            Self { allow_list, domains, .. } if !domains.is_empty() => {
                Egress::Named { domains: domains.clone(), ranges: allow_list.clone() }
            }
            Self { allow_list, .. } if allow_list.is_empty() => Egress::Open,
            Self { allow_list, .. } => Egress::Only(allow_list.clone()),
        }
    }
}

impl Default for Resources {
    fn default() -> Self {
        Self { cpu: 1, memory: 1, disk: 3 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_names_agree_with_serde() {
        for state in SandboxState::ALL {
            assert_eq!(serde_json::to_value(state).expect("a string"), state.as_str());
            assert_eq!(SandboxState::parse(state.as_str()), Some(state));
        }
        for state in DesiredState::ALL {
            assert_eq!(serde_json::to_value(state).expect("a string"), state.as_str());
            assert_eq!(DesiredState::parse(state.as_str()), Some(state));
        }
    }
}
