//! The way into sandboxes: `/toolbox/{sandbox id}/…` to the agent of that sandbox.
//!
//! A request is checked (key, organization, state) from memory alone, then passed on over a connection that is kept
//! for the next one. Bodies stream both ways and are never held; WebSockets and other upgrades pass through. What
//! identifies the caller stops here: the agent runs on the untrusted side, so no key, cookie or forwarding header
//! reaches it. What it answers may come from a program of the sandbox's own in its place, so the head of each answer is
//! made anew.
//!
//! | file | does |
//! |---|---|
//! | `toolbox` | the route: checks, forwards, answers |
//! | `target` | where a request goes: sandbox and path |
//! | `signature` | file URLs that need no key |
//! | `pool` | connections to agents, kept |
//! | `connection` | one exchange on one of them |
//! | `headers` | what an agent sees of a request's |
//! | `answer` | what a caller sees of an answer |
//! | `upgrade` | both directions of a WebSocket |
//! | `error` | refusals in the toolbox's shape |
#![forbid(unsafe_code)]

mod answer;
mod body;
mod connection;
mod error;
#[cfg(fuzzing)]
pub mod fuzz;
mod headers;
mod pool;
mod signature;
mod target;
mod toolbox;
mod upgrade;

pub use toolbox::router;
