//! Makes an isolated process tree out of a root file system, by system calls alone.
//!
//! Nothing here knows what a sandbox is to users: no records, no policy, no async. [`sebring-runner`] decides and
//! remembers; this crate prepares the parts ([`ward`], [`namespaces`], [`link`], [`disk`], [`cgroup`], [`mounts`], [`control`]) and
//! [`launch`]es the agent in them. One of the two crates that may contain unsafe code.
//!
//! Facts that shape it, measured where they are about time (SPECIFICATION.md):
//!
//! - A large process must not fork: the child shares the server's memory (`CLONE_VM | CLONE_VFORK`) until it executes
//!   the agent, so it may not allocate, lock or return ([`child`]).
//! - Joining a cgroup waits for an RCU grace period unless the kernel was told to favour dynamic modification
//!   ([`cgroup::favor_dynamic_modification`]).
//! - The user namespace owns all the others, and every descriptor of the agent is opened inside, so that a
//!   sandbox can be checkpointed.
//! - Mounts that cross into a namespace of less privilege are locked there: what must stay is attached in the [`ward`],
//!   what root inside may change is made by the sandbox itself.
//!
//! [`sebring-runner`]: https://docs.rs/sebring-runner

pub mod agent_files;
pub mod cgroup;
mod child;
mod clone;
pub mod closer;
pub mod control;
mod counted;
pub mod departure;
pub mod device_nodes;
pub mod disk;
mod error;
mod holder;
pub mod launch;
pub mod link;
pub mod mounts;
pub mod namespaces;
mod netlink;
pub mod pressure;
pub mod process;
pub mod profile;
pub mod removals;
pub mod seccomp;
pub mod tree;
pub mod uncounted;
pub mod ward;

pub use error::{Context, RuntimeError};
