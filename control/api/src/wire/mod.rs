//! The JSON of the public API, in its field names.
//!
//! Rules of the contract: every field that has a value is sent, optional fields without one are left out, sizes are
//! integers, and unknown fields of requests are ignored.

mod api_key;
mod configuration;
mod create_sandbox;
mod failure;
mod labels;
mod list_sandboxes;
mod network;
mod paginated_sandboxes;
mod resize;
mod runner;
mod sandbox;
mod snapshot;

pub use api_key::ApiKey;
pub use configuration::{Configuration, Health, Oidc};
pub use create_sandbox::{CreateBuildInfo, CreateSandbox, GpuPreference, SandboxVolume};
pub use failure::Failure;
pub use labels::SandboxLabels;
pub use list_sandboxes::{ListSandboxesQuery, ListSandboxesResponse, Order, SandboxListItem, SortField};
pub use network::{NetworkLog, NetworkLogItem, UpdateSandboxNetworkSettings};
pub use paginated_sandboxes::{PaginatedSandboxes, PaginatedSandboxesQuery, PaginatedSort};
pub use resize::ResizeSandbox;
pub use runner::{LOCAL, ListRunnersQuery, Runner};
pub use sandbox::{Sandbox, ToolboxProxyUrl};
pub use snapshot::{ListSnapshotsQuery, PaginatedSnapshots, SnapshotDto, SnapshotSort};
