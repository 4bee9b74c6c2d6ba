//! Words shared by all planes: ids, states, the [`Runner`] boundary and the handshake with the agent.
//!
//! Nothing here does I/O. The control plane and the compute plane know each other only through [`runner`]; the
//! runner and the agent only through [`agent`].
#![forbid(unsafe_code)]

pub mod agent;
pub mod denial;
pub mod domain;
pub mod id;
pub mod isolation;
pub mod nearest;
pub mod runner;
pub mod sandbox;
pub mod snapshot;

pub use denial::Denial;
pub use domain::DomainPattern;
pub use id::{ApiKeyId, OrganizationId, SandboxId, SnapshotId};
pub use isolation::Isolation;
pub use runner::{Runner, RunnerError};
pub use sandbox::{DesiredState, NetworkSettings, Resources, SandboxState};
pub use snapshot::SnapshotManifest;
