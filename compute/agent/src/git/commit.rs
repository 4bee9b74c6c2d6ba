//! `POST /git/commit`.

use serde::{Deserialize, Serialize};

use super::repository::Repository;
use crate::agent::Agent;
use crate::http::error::Failure;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitCommitRequest))]
#[serde(deny_unknown_fields)]
pub struct Request {
    path: String,
    message: String,
    /// Also the committer's name.
    author: String,
    email: String,
    allow_empty: Option<bool>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitCommitResponse))]
pub struct Committed {
    hash: String,
}

/// Commits what is staged. The message is kept to the letter; hooks run.
pub async fn commit(agent: &Agent, request: Request) -> Result<Committed, Failure> {
    for (name, value) in [("message", &request.message), ("author", &request.author), ("email", &request.email)] {
        if value.trim().is_empty() {
            return Err(Failure::bad_request(format!("{name} is required")));
        }
        if value.contains('\0') {
            return Err(Failure::bad_request(format!("{name} has a zero byte, which git cannot store")));
        }
    }
    let repository = Repository::open(agent, &request.path).await?;
    let outcome = repository
        .git(&["commit", "--quiet", "--cleanup=verbatim", "--file=-"])
        .argument_if(request.allow_empty == Some(true), "--allow-empty")
        .variable("GIT_AUTHOR_NAME", &request.author)
        .variable("GIT_AUTHOR_EMAIL", &request.email)
        .variable("GIT_COMMITTER_NAME", &request.author)
        .variable("GIT_COMMITTER_EMAIL", &request.email)
        .input(request.message.as_bytes())?
        .run()
        .await?;
    if !outcome.succeeded() && tells_of_nothing(&outcome.stdout) {
        let message = "nothing to commit: stage changes by git/add first, or pass allow_empty";
        return Err(Failure::bad_request(message));
    }
    outcome.success()?;
    Ok(Committed { hash: repository.commit("HEAD").await? })
}

/// Instead of an error git writes its status.
fn tells_of_nothing(output: &[u8]) -> bool {
    const PHRASES: [&str; 3] = ["nothing to commit", "nothing added to commit", "no changes added to commit"];
    let text = String::from_utf8_lossy(output);
    text.lines().any(|line| PHRASES.iter().any(|phrase| line.starts_with(phrase)))
}
