//! `/git/config` and `/git/config/user`.

use serde::{Deserialize, Serialize};

use super::repository::Repository;
use crate::agent::Agent;
use crate::http::error::Failure;

const SCOPES: [&str; 3] = ["global", "local", "system"];

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitSetConfigRequest))]
#[serde(deny_unknown_fields)]
pub struct SetRequest {
    key: String,
    value: String,
    path: Option<String>,
    scope: Option<String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitConfigureUserRequest))]
#[serde(deny_unknown_fields)]
pub struct UserRequest {
    name: String,
    email: String,
    path: Option<String>,
    scope: Option<String>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitConfigResponse))]
pub struct Answer {
    /// Null when the key is not set.
    value: Option<String>,
}

/// One of git's configurations.
struct Scope<'a> {
    repository: Repository<'a>,
    option: String,
}

pub async fn get(agent: &Agent, key: &str, path: Option<&str>, scope: Option<&str>) -> Result<Answer, Failure> {
    let scope = Scope::open(agent, path, scope).await?;
    check_key(key)?;
    let git = scope.repository.git(&["config", &scope.option, "--includes", "--null", "--get", "--", key]);
    Ok(Answer { value: git.run().await?.value()? })
}

/// Sets a key to one value, in place of all that it has.
pub async fn set(agent: &Agent, request: SetRequest) -> Result<(), Failure> {
    let scope = Scope::open(agent, request.path.as_deref(), request.scope.as_deref()).await?;
    scope.set(&request.key, &request.value).await
}

pub async fn set_user(agent: &Agent, request: UserRequest) -> Result<(), Failure> {
    for (name, value) in [("name", &request.name), ("email", &request.email)] {
        if value.trim().is_empty() {
            return Err(Failure::bad_request(format!("{name} is required")));
        }
    }
    let scope = Scope::open(agent, request.path.as_deref(), request.scope.as_deref()).await?;
    scope.set("user.name", &request.name).await?;
    scope.set("user.email", &request.email).await
}

impl<'a> Scope<'a> {
    async fn open(agent: &'a Agent, path: Option<&str>, scope: Option<&str>) -> Result<Self, Failure> {
        let scope = scope.filter(|scope| !scope.is_empty()).unwrap_or("global");
        if !SCOPES.contains(&scope) {
            return Err(Failure::bad_request(format!("scope is {scope:?}: give one of {}", SCOPES.join(", "))));
        }
        let repository = match (scope, path.unwrap_or_default()) {
            ("local", "") => {
                return Err(Failure::bad_request("scope local needs path: name the repository's directory"));
            }
            ("local", path) => Repository::open(agent, path).await?,
            _ => Repository::none(agent),
        };
        // Git would say that --local is only for repositories, not that this is none.
        if scope == "local" {
            repository.git(&["rev-parse", "--git-dir"]).output().await?;
        }
        Ok(Self { repository, option: format!("--{scope}") })
    }

    async fn set(&self, key: &str, value: &str) -> Result<(), Failure> {
        check_key(key)?;
        let git = self.repository.git(&["config", &self.option, "--replace-all", "--", key, value]);
        git.output().await?;
        Ok(())
    }
}

/// `section.name` or `section.any thing.name`; git's codes do not tell a wrong key from one that is not set.
fn check_key(key: &str) -> Result<(), Failure> {
    let word = |text: &str, other: &[char]| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || other.contains(&c))
    };
    let valid = key.split_once('.').is_some_and(|(section, rest)| {
        let name = rest.rsplit_once('.').map_or(rest, |(_, name)| name);
        word(section, &[]) && word(name, &[]) && name.starts_with(|c: char| c.is_ascii_alphabetic())
    });
    if valid && !key.starts_with('-') && !key.contains(['\n', '\0']) {
        return Ok(());
    }
    Err(Failure::bad_request(format!("key {key:?} is no name of a setting: give section.name, such as user.name")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for key in ["user.name", "http.https://a.b/c?d.proxy", "branch.feature/ü.x.merge", "a-b.c-d"] {
            assert!(check_key(key).is_ok(), "{key}");
        }
        for key in ["", "user", ".name", "user.", "user.1", "a b.c", "a.b c", "--x.y", "a.b\n.c"] {
            assert!(check_key(key).is_err(), "{key}");
        }
    }
}
