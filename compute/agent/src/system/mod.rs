//! Facts about the sandbox.

pub mod metrics;
pub mod ports;

use serde::Serialize;

use crate::agent::Agent;

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = DirectoryResponse))]
pub struct Directory {
    dir: String,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = VersionResponse))]
pub struct Version {
    version: &'static str,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Message {
    pub message: &'static str,
}

/// `GET /user-home-dir`.
pub fn home_dir(agent: &Agent) -> Directory {
    Directory { dir: agent.identity.home.clone() }
}

/// `GET /work-dir`.
pub fn work_dir(agent: &Agent) -> Directory {
    Directory { dir: agent.work_dir.to_string_lossy().into_owned() }
}

/// `GET /version`.
pub fn version() -> Version {
    Version { version: env!("CARGO_PKG_VERSION") }
}

/// `POST /init`: the official runner gives its daemon a token here. This agent has none to keep, for only its runner
/// reaches the control socket.
pub fn initialize() -> Message {
    Message { message: "the agent is ready" }
}
