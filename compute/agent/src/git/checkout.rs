//! `POST /git/checkout`.

use serde::Deserialize;

use super::names;
use super::repository::Repository;
use crate::agent::Agent;
use crate::http::error::Failure;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitCheckoutRequest))]
#[serde(deny_unknown_fields)]
pub struct Request {
    path: String,
    /// A branch, a tag or a commit.
    branch: String,
}

/// Checks out a branch, or detaches `HEAD` at anything else. A branch that only one remote has is created with that
/// one as its upstream.
pub async fn checkout(agent: &Agent, request: Request) -> Result<(), Failure> {
    let branch = names::check("branch", &request.branch)?;
    let repository = Repository::open(agent, &request.path).await?;
    // The dashes: it is no name of a file.
    repository.git(&["checkout", "--quiet", branch, "--"]).output().await?;
    Ok(())
}
