//! The sandbox as the agent finds it: who the user is, which files it must have, which signals reach pid 1, when memory
//! ran out.

pub mod accounts;
pub mod files;
pub mod identity;
pub mod limits;
pub mod memory;
pub mod setup;
pub mod signals;
