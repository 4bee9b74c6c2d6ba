//! Pid 1 of every sandbox: sets it up from inside, reaps its orphans and serves the toolbox API.
//!
//! It is static, has no business with the image's libraries and runs in an empty root file system. One thread runs
//! the server; file work goes to short-lived threads ([`blocking`]). Whatever it does for a caller, it does as the
//! sandbox user: processes change their ids before they are executed ([`process::spawn`]), and file operations are
//! checked by the kernel against the file system ids that [`guest::identity`] sets on the only thread before any
//! other exists. Its real uid stays 0 so that it can end what `sudo` started.
//!
//! No descriptor of the world outside stays open after the handshake, which checkpointing needs.

mod agent;
mod blocking;
mod checkpoint;
mod desktop;
mod files;
#[cfg(fuzzing)]
pub mod fuzz;
mod git;
mod guest;
mod handshake;
mod http;
mod lsp;
#[cfg(test)]
mod openapi;
mod process;
mod shared;
mod system;

use std::ffi::c_int;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use sebring_types::agent::{AgentConfig, FailureKind, SOCKET_PATH};
use tokio::runtime::Runtime;

use crate::agent::Agent;
use crate::guest::setup::{self, SetupError};
use crate::handshake::{Handshake, HandshakeError};

/// The whole program; its exit status.
pub fn run() -> c_int {
    let Some(socket) = socket_path() else {
        eprintln!("usage: sebring-agent [--socket PATH], with a handshake on descriptor 3");
        return 2;
    };
    let mut handshake = match Handshake::take() {
        Ok(handshake) => handshake,
        Err(error) => return explain(&error),
    };
    // It may be long until there is a configuration: what needs none comes first.
    let begun = Begun::begin(&socket);
    let config = match handshake.receive() {
        Ok(config) => config,
        Err(error) => return explain(&error),
    };
    match begun.and_then(|begun| begun.go_on(config)) {
        Ok((agent, begun)) => serve(agent, begun, handshake),
        Err(error) => {
            handshake.fail(error.kind(), &error.to_string());
            libc::EXIT_FAILURE
        }
    }
}

fn explain(error: &HandshakeError) -> c_int {
    eprintln!("sebring-agent: {error}");
    libc::EXIT_FAILURE
}

/// The socket of the handshake's contract, or the one that a test names.
fn socket_path() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next(), arguments.next()) {
        (None, ..) => Some(SOCKET_PATH.into()),
        (Some(flag), Some(path), None) if flag == "--socket" => Some(path.into()),
        _ => None,
    }
}

/// An agent that has no configuration yet.
struct Begun {
    /// For the next runner; see [`sebring_types::agent::CONTROL_FD`].
    control: OwnedFd,
    listener: UnixListener,
    runtime: Runtime,
}

impl Begun {
    fn begin(socket: &Path) -> Result<Self, SetupError> {
        guest::limits::apply()?;
        let control = setup::hold(socket)?;
        guest::signals::block()?;
        setup::anticipate()?;
        let listener = setup::listen(socket)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        Ok(Self { control, listener, runtime })
    }

    /// The rest of what needs root: files of the image; then the file system ids.
    fn go_on(self, mut config: AgentConfig) -> Result<(Agent, Self), SetupError> {
        let identity = setup::prepare(&mut config)?;
        guest::identity::assume_for_files(&identity)?;
        Ok((Agent::new(config, identity), self))
    }
}

fn serve(agent: Agent, Begun { control: _control, listener, runtime }: Begun, mut handshake: Handshake) -> c_int {
    let served = runtime.block_on(http::server::run(agent, listener, || handshake.ready()));
    match served {
        Ok(()) => libc::EXIT_SUCCESS,
        Err(error) => {
            handshake.fail(FailureKind::Internal, &format!("the agent cannot serve: {error}"));
            libc::EXIT_FAILURE
        }
    }
}
