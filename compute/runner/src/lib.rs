//! The runner of one machine: it remembers what it made, so that it can be killed at any moment.
//!
//! Every sandbox has a directory `sandboxes/<id>` with a [`record`]. The record is written *before* the resource it names
//! is made, so that whatever a crash leaves behind is found: a running sandbox is adopted, a half-made one removed.
//!
//! | artefact | where | made by | removed by |
//! |---|---|---|---|
//! | record | `sandboxes/<id>/` | create | destroy |
//! | control directory | a tmpfs, held by the runner and the agent | each start | the kernel, with the last descriptor |
//! | writable layer | disk pool, `disks/<id>` | create | destroy |
//! | spare layer | disk pool, `disks/spare-*` | the pool's thread | renamed by create; removed at the next start |
//! | template of a size | disk pool, `templates/` | first disk of the size | [`gc`], when no sandbox has it |
//! | cgroup | `sebring/<place>/<id>` | each start | each stop |
//! | namespaces, interfaces, mounts, loop devices | kernel | each start | the kernel, with the last process |
//! | agent program | `agents/<hash>/` | server start | [`gc`], when no sandbox runs it |
//! | layer of certificates | `layers/` | first create on a snapshot | server start with other certificates, [`gc`] |
//! | address, user ids | place in `/run/sebring`, number in memory | slot pool | stop |
#![forbid(unsafe_code)]

mod adopt;
mod boot;
mod change;
mod config;
mod control;
mod departures;
mod descriptors;
mod gc;
mod handshake;
mod host;
mod info;
mod leftovers;
mod manifests;
mod memory;
mod places;
mod purge;
mod record;
mod reserve;
mod runner;
mod sandbox;
mod settings;
mod slots;
mod space;
mod spares;
mod starts;
mod survey;
mod trust;
mod warm;

pub use config::{RunnerConfig, WarmConfig};
pub use gc::gc;
pub use host::{Host, HostError};
pub use leftovers::{Kind, Leftover};
pub use purge::purge;
pub use runner::LocalRunner;
pub use sebring_network::{NetworkConfig, SSH_PORT, Subnet};
pub use settings::HostSetting;
