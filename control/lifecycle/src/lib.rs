//! The life of a sandbox: one state machine, one operation at a time, every wait with an end.
//!
//! ```text
//!            create                    stop, auto-stop, all processes ended
//!   (none) ────────▶ creating ──▶ started ────────▶ stopping ──▶ stopped ──┐
//!                       │           ▲  ▲                            │      │ start
//!              it failed│           │  └────────── starting ◀───────┼──────┘
//!                       ▼           │                 │ it failed   │
//!                    (none)         │                 └────────────▶┘
//!
//!   any state ── delete, auto-delete, TTL ──▶ destroying ──▶ destroyed = (none)
//!   starting, stopping, destroying ── deadline passed, or the runner failed ──▶ error
//!   error ── stop ──▶ stopping     error ── delete ──▶ destroying
//! ```
//!
//! | state | who sets it | ends by | at the latest after |
//! |---|---|---|---|
//! | `creating` | [`Lifecycle::create`] | `started`, or nothing is left | [`Deadlines::create`] |
//! | `started` | create, start, reconciliation | a command, a timer, an observation of the runner | – |
//! | `stopping` | stop, auto-stop | `stopped`, `error` | [`Deadlines::stop`] |
//! | `stopped` | stop, an observation, a failed start, reconciliation | a command, a timer | – |
//! | `starting` | start | `started`, `stopped` with the reason, `error` | [`Deadlines::start`] |
//! | `destroying` | delete, auto-delete, TTL | nothing is left, `error` | [`Deadlines::destroy`] × attempts |
//! | `error` | any operation that failed half way, a sandbox that ran out of memory, reconciliation | stop, delete | – |
//!
//! `destroyed` is told to listeners and never stored. The API's other states (builds, archives, pauses, forks …) are
//! set by nobody in this version; should one be found, delete ends it like any other. [`machine`] is the table above
//! as a function, the only place where a command meets a state.
//!
//! Rules that keep it sound:
//! - The desired state is what was asked for, the state what is so. Both are written before the runner is asked,
//!   and each write names the state it replaces, so that an operation that was overtaken can't undo what overtook it.
//! - Operations of one sandbox wait for each other in the order they came. Delete does not wait: it marks the sandbox,
//!   destroys, and if an operation was under way, destroys again when that has ended.
//! - An operation is a task of its own: a client that hangs up changes nothing.
//! - Listeners hear of a state after it can be read, and never of an older one after a newer.
//! - Sandboxes linked to another one end with it, see `links.rs`.
//! - At start the store is compared with what the runner holds, see [`Lifecycle::start`].
#![forbid(unsafe_code)]

mod activity;
mod config;
mod create;
mod deadline;
mod departed;
mod destroy;
mod error;
mod lifecycle;
mod links;
mod live;
pub mod machine;
mod observe;
mod power;
mod reconcile;
mod settings;
mod snapshots;
mod timers;

pub use config::{Config, Deadlines};
pub use create::NewSandbox;
pub use error::{Action, Error};
pub use lifecycle::Lifecycle;
pub use live::{Busy, Live};
