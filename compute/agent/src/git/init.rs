//! `POST /git/init`.

use serde::Deserialize;

use super::names;
use super::repository::Repository;
use crate::agent::Agent;
use crate::files::folder;
use crate::http::error::Failure;
use crate::http::request::blocking;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitInitRequest))]
#[serde(deny_unknown_fields)]
pub struct Request {
    path: String,
    bare: Option<bool>,
    /// That of the configuration when absent.
    initial_branch: Option<String>,
}

/// Makes a repository, with its directory. One that exists keeps what it has.
pub async fn init(agent: &Agent, request: Request) -> Result<(), Failure> {
    let branch = names::optional("initial_branch", request.initial_branch.as_deref())?;
    let path = agent.resolve(&request.path);
    blocking(move || folder::make_parents(&path)).await?;
    let repository = Repository::future(agent, &request.path).await?;
    let mut git = repository.git(&["init", "--quiet"]).argument_if(request.bare == Some(true), "--bare");
    if let Some(branch) = branch {
        git = git.argument(format!("--initial-branch={branch}"));
    }
    git.output().await?;
    Ok(())
}
