//! The REST API under `/api`, and Socket.IO beside it.
//!
//! The contract is Daytona's public API: paths, field names and status codes are given, see each module of [`wire`].
//! `routes` holds the handlers, a screen per noun, each annotated for the OpenAPI document that `/api/openapi.json`
//! serves; [`router`] is the list of all of them. `extract` turns a request into what handlers take: who calls, the
//! body, the query. `error` is the one place where a failure becomes an answer.
#![forbid(unsafe_code)]

mod app;
mod audience;
mod config;
mod error;
mod extract;
mod minutes;
mod public_url;
mod router;
mod routes;
mod socket;
mod trace;
mod unavailable;
mod unread;
mod validate;
pub mod wire;

pub use config::Config;
pub use router::{openapi, router};
