//! `POST /git/restore`.

use serde::Deserialize;

use super::names;
use super::repository::Repository;
use crate::agent::Agent;
use crate::http::error::Failure;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitRestoreRequest))]
#[serde(deny_unknown_fields)]
pub struct Request {
    path: String,
    files: Vec<String>,
    /// Restore the index.
    staged: Option<bool>,
    /// Restore the work tree; so it is when neither is asked for.
    worktree: Option<bool>,
    /// A revision; the index when absent, `HEAD` for the index itself.
    source: Option<String>,
}

/// Brings files back to what they were.
pub async fn restore(agent: &Agent, request: Request) -> Result<(), Failure> {
    let staged = request.staged == Some(true);
    let worktree = request.worktree.unwrap_or(!staged);
    if !staged && !worktree {
        return Err(Failure::bad_request("staged and worktree are both false: there is nothing to restore"));
    }
    let source = names::optional("source", request.source.as_deref())?;
    let repository = Repository::open(agent, &request.path).await?;
    let mut git = repository
        .git(&["restore", "--quiet", "--pathspec-from-file=-", "--pathspec-file-nul"])
        .argument_if(staged, "--staged")
        .argument_if(worktree, "--worktree");
    if let Some(source) = source {
        git = git.argument(format!("--source={source}"));
    }
    git.input(&names::files(&request.files)?)?.output().await?;
    Ok(())
}
