//! What the runner asks before a checkpoint and after a restore; the contract stands in [`sebring_types::agent`].

use http::header::CONNECTION;
use http::{HeaderValue, StatusCode};
use sebring_types::agent::Resumed;

use crate::agent::Agent;
use crate::guest::{identity, limits, setup};
use crate::http::error::Failure;
use crate::http::request::Request;
use crate::http::response::{self, Response};
use crate::process::environment;

/// Closes every connection: this one after its answer.
pub fn prepare(agent: &Agent, request: &Request) -> Response {
    agent.connections.close_others(request.connection);
    // What is free need not be in the image.
    limits::return_memory();
    let mut response = response::empty(StatusCode::OK);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Takes over what the sandbox is called now. Outside a sandbox, as in tests, `/etc` is left alone.
pub fn resumed(agent: &Agent, resumed: Resumed) -> Result<(), Failure> {
    environment::check(&resumed.env)?;
    if std::process::id() == 1 {
        let (nameserver, address) = (resumed.nameserver.as_deref(), resumed.address.as_deref());
        identity::as_root(&agent.identity, || setup::write_names(&resumed.hostname, nameserver, address))?
            .map_err(|error| Failure::internal(error.to_string()))?;
    }
    agent.environment.lock().extend(resumed.env);
    Ok(())
}
