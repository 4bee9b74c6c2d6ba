//! `POST /git/push`.

use serde::Deserialize;

use super::login;
use super::names;
use super::repository::Repository;
use crate::agent::Agent;
use crate::http::error::Failure;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitPushRequest))]
#[serde(deny_unknown_fields)]
pub struct Request {
    path: String,
    /// `origin` when absent.
    remote: Option<String>,
    /// The current one when absent.
    branch: Option<String>,
    set_upstream: Option<bool>,
    username: Option<String>,
    password: Option<String>,
}

/// Pushes one branch to the branch of the same name.
pub async fn push(agent: &Agent, request: Request) -> Result<(), Failure> {
    let remote = names::remote(request.remote.as_deref())?.unwrap_or("origin");
    let branch = names::optional("branch", request.branch.as_deref())?;
    let login = login::given(request.username, request.password)?;
    let repository = Repository::open(agent, &request.path).await?;
    let branch = repository.branch_or_current(branch).await?;
    let url = repository.remote_url(remote, true, login.as_ref()).await?;
    repository
        .git(&["push", "--porcelain"])
        .argument_if(request.set_upstream == Some(true), "--set-upstream")
        .argument("--")
        .argument(remote)
        .argument(format!("refs/heads/{branch}:refs/heads/{branch}"))
        .login(login.as_ref(), &url)?
        .output()
        .await?;
    Ok(())
}
