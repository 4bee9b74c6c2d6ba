//! `POST /git/credentials`: keeps a login for all later calls of git in the sandbox.

use serde::Deserialize;

use super::login;
use super::repository::Repository;
use crate::agent::Agent;
use crate::http::error::Failure;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitAuthenticateRequest))]
#[serde(deny_unknown_fields)]
pub struct Request {
    username: String,
    password: String,
    /// With a port if need be; `github.com` when absent.
    host: Option<String>,
    /// `https` when absent.
    protocol: Option<String>,
}

/// Writes it in clear text to the user's credential store (git-credential-store(1)), which only the user can read,
/// and has git use that store.
pub async fn store(agent: &Agent, request: Request) -> Result<(), Failure> {
    let host = request.host.filter(|host| !host.is_empty()).unwrap_or_else(|| "github.com".to_owned());
    let protocol = request.protocol.filter(|protocol| !protocol.is_empty()).unwrap_or_else(|| "https".to_owned());
    let fields =
        [("protocol", &protocol), ("host", &host), ("username", &request.username), ("password", &request.password)];
    let mut text = String::new();
    for (name, value) in fields {
        if value.is_empty() {
            return Err(Failure::bad_request(format!("{name} is required")));
        }
        login::check(name, value)?;
        text.push_str(&format!("{name}={value}\n"));
    }
    if host.contains(['/', '@']) || protocol.contains([':', '/']) {
        return Err(Failure::bad_request("give host as name or name:port, and protocol as https or http"));
    }
    let nowhere = Repository::none(agent);
    nowhere.git(&["credential-store", "store"]).input(text.as_bytes())?.output().await?;
    let helpers = nowhere.git(&["config", "--global", "--includes", "--get-all", "credential.helper"]).run().await?;
    if !String::from_utf8_lossy(&helpers.stdout).lines().any(|helper| helper == "store") {
        nowhere.git(&["config", "--global", "--add", "credential.helper", "store"]).output().await?;
    }
    Ok(())
}
