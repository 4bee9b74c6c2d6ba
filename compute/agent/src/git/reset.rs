//! `POST /git/reset`.

use serde::Deserialize;

use super::names;
use super::repository::Repository;
use crate::agent::Agent;
use crate::http::error::Failure;

const MODES: [&str; 5] = ["soft", "mixed", "hard", "merge", "keep"];

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitResetRequest))]
#[serde(deny_unknown_fields)]
pub struct Request {
    path: String,
    /// One of [`MODES`]; mixed when absent.
    mode: Option<String>,
    /// A revision; `HEAD` when absent.
    target: Option<String>,
    /// Only these files of the index.
    files: Option<Vec<String>>,
}

/// Sets the current branch back, or single files of the index.
pub async fn reset(agent: &Agent, request: Request) -> Result<(), Failure> {
    let mode = request.mode.as_deref().filter(|mode| !mode.is_empty()).unwrap_or("mixed");
    if !MODES.contains(&mode) {
        return Err(Failure::bad_request(format!("mode is {mode:?}: give one of {}", MODES.join(", "))));
    }
    let target = names::optional("target", request.target.as_deref())?;
    let files = request.files.filter(|files| !files.is_empty());
    if files.is_some() && mode != "mixed" {
        return Err(Failure::bad_request(format!("files can only be reset with mode mixed, not {mode}")));
    }
    let repository = Repository::open(agent, &request.path).await?;
    let mut git = repository.git(&["reset", "--quiet"]);
    git = match &files {
        Some(files) => {
            git.argument("--pathspec-from-file=-").argument("--pathspec-file-nul").input(&names::files(files)?)?
        }
        None => git.argument(format!("--{mode}")),
    };
    if let Some(target) = target {
        git = git.argument(target);
    }
    git.argument_if(files.is_none(), "--").output().await?;
    Ok(())
}
