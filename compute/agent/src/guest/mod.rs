//! The sandbox as the agent finds it: who the user is, which files it must have, which signals reach pid 1.

pub mod accounts;
pub mod identity;
pub mod limits;
pub mod setup;
pub mod signals;
