//! `/git/branches`.

use serde::{Deserialize, Serialize};

use super::names;
use super::repository::Repository;
use crate::agent::Agent;
use crate::http::error::Failure;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitBranchRequest))]
#[serde(deny_unknown_fields)]
pub struct Request {
    path: String,
    name: String,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = ListBranchResponse))]
pub struct Branches {
    /// Local ones, by name.
    branches: Vec<String>,
    /// Empty when `HEAD` is detached.
    current: String,
}

pub async fn list(agent: &Agent, path: &str) -> Result<Branches, Failure> {
    let repository = Repository::open(agent, path).await?;
    let current = repository.current_branch().await?.unwrap_or_default();
    // Names of references have no line breaks (git-check-ref-format(1)).
    let output = repository.git(&["for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads"]).output().await?;
    let branches = String::from_utf8_lossy(&output).lines().map(str::to_owned).collect();
    Ok(Branches { branches, current })
}

/// Creates a branch at `HEAD` and checks it out, as the official server does. Changes in the work tree stay.
pub async fn create(agent: &Agent, request: Request) -> Result<(), Failure> {
    let name = names::check("name", &request.name)?;
    let repository = Repository::open(agent, &request.path).await?;
    repository.git(&["checkout", "--quiet", "--no-track", "-b", name, "--"]).output().await?;
    Ok(())
}

/// Deletes a branch, merged or not.
pub async fn delete(agent: &Agent, request: Request) -> Result<(), Failure> {
    let name = names::check("name", &request.name)?;
    let repository = Repository::open(agent, &request.path).await?;
    repository.git(&["branch", "--quiet", "-D", "--", name]).output().await?;
    Ok(())
}
