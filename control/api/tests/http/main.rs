//! The API as clients see it.

mod contract;
mod events;
mod others;
mod refusals;
mod sandboxes;
mod server;
