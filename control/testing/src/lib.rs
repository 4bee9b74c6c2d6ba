//! A control plane without a compute plane, for the tests of the crates around: a runner that only remembers, and
//! agents that a test writes itself. No part of the program.
#![forbid(unsafe_code)]

mod rig;
mod runner;

pub use rig::{Rig, eventually};
pub use runner::{Call, MemoryRunner, SNAPSHOT};
