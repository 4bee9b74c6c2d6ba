//! `POST /git/pull`.

use serde::Deserialize;

use super::login;
use super::names;
use super::repository::Repository;
use crate::agent::Agent;
use crate::http::error::Failure;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitPullRequest))]
#[serde(deny_unknown_fields)]
pub struct Request {
    path: String,
    /// The upstream's remote when absent, else `origin`.
    remote: Option<String>,
    /// The upstream when absent, else the branch of the current one's name.
    branch: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// Fetches a branch and brings the current one forward to it. Branches that have diverged are merged or rebased only
/// as the sandbox's configuration says (`pull.rebase`, `pull.ff`); a merge with conflicts is left in the work tree.
pub async fn pull(agent: &Agent, request: Request) -> Result<(), Failure> {
    let remote = names::remote(request.remote.as_deref())?;
    let branch = names::optional("branch", request.branch.as_deref())?;
    let login = login::given(request.username, request.password)?;
    let repository = Repository::open(agent, &request.path).await?;
    let upstream = upstream(&repository).await?;
    let remote = remote.or(upstream.as_ref().map(|upstream| upstream.remote.as_str())).unwrap_or("origin");
    let reference = match (branch, &upstream) {
        (Some(branch), _) => branch.to_owned(),
        (None, Some(upstream)) if upstream.remote == remote => upstream.reference.clone(),
        (None, _) => format!("refs/heads/{}", repository.branch_or_current(None).await?),
    };
    let url = repository.remote_url(remote, false, login.as_ref()).await?;
    let git = repository.git(&["pull", "--quiet", "--no-edit", "--", remote]).argument(reference);
    git.login(login.as_ref(), &url)?.output().await?;
    Ok(())
}

struct Upstream {
    remote: String,
    /// In the remote.
    reference: String,
}

/// Where the current branch comes from by its configuration.
async fn upstream(repository: &Repository<'_>) -> Result<Option<Upstream>, Failure> {
    let Some(branch) = repository.current_branch().await? else { return Ok(None) };
    let remote = repository.setting(&format!("branch.{branch}.remote")).await?;
    let reference = repository.setting(&format!("branch.{branch}.merge")).await?;
    Ok(remote.zip(reference).map(|(remote, reference)| Upstream { remote, reference }))
}
