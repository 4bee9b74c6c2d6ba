//! `POST /git/add`.

use serde::Deserialize;

use super::names;
use super::repository::Repository;
use crate::agent::Agent;
use crate::http::error::Failure;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitAddRequest))]
#[serde(deny_unknown_fields)]
pub struct Request {
    path: String,
    files: Vec<String>,
}

/// Stages files as they are now, deletions included. Names are names, not patterns; a directory is all below it.
pub async fn add(agent: &Agent, request: Request) -> Result<(), Failure> {
    let repository = Repository::open(agent, &request.path).await?;
    let git = repository.git(&["add", "--all", "--pathspec-from-file=-", "--pathspec-file-nul"]);
    git.input(&names::files(&request.files)?)?.output().await?;
    Ok(())
}
