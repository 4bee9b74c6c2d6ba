//! `/git/remotes`.

use serde::{Deserialize, Serialize};

use super::login::SECRET;
use super::names;
use super::records::Records;
use super::repository::Repository;
use super::url;
use crate::agent::Agent;
use crate::http::error::{Failure, Kind};

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitAddRemoteRequest))]
#[serde(deny_unknown_fields)]
pub struct AddRequest {
    path: String,
    name: String,
    url: String,
    /// Fetch from it at once.
    fetch: Option<bool>,
    /// Replace the URL of a remote that exists.
    overwrite: Option<bool>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = ListRemotesResponse))]
pub struct Remotes {
    remotes: Vec<Remote>,
}

#[derive(Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitRemote))]
pub struct Remote {
    name: String,
    /// As it is configured; the first one of several.
    url: String,
}

pub async fn list(agent: &Agent, path: &str) -> Result<Remotes, Failure> {
    let repository = Repository::open(agent, path).await?;
    repository.git(&["rev-parse", "--git-dir"]).output().await?;
    let outcome = repository.git(&["config", "--null", "--get-regexp", r"^remote\..*\.url$"]).run().await?;
    // Git's code for "not set".
    let output = if outcome.exit.code() == 1 { Vec::new() } else { outcome.success()? };
    Ok(Remotes { remotes: parse(&output) })
}

/// Records of `remote.NAME.url`, a line break, the URL.
pub fn parse(output: &[u8]) -> Vec<Remote> {
    let mut remotes: Vec<Remote> = Vec::new();
    Records::default().push(output, |record| {
        let record = String::from_utf8_lossy(record);
        let (key, url) = record.split_once('\n').unwrap_or((&record, ""));
        let name = key.strip_prefix("remote.").and_then(|key| key.strip_suffix(".url"));
        if let Some(name) = name.filter(|name| remotes.iter().all(|remote| remote.name != *name)) {
            remotes.push(Remote { name: name.to_owned(), url: url.to_owned() });
        }
    });
    remotes
}

/// Adds a remote. A password in its URL is stored with it, for that is what the call is for.
pub async fn add(agent: &Agent, request: AddRequest) -> Result<(), Failure> {
    let name = names::check("name", &request.name)?;
    let url = names::check("url", &request.url)?;
    let (shown_url, login) = url::without_login(url);
    let repository = Repository::open(agent, &request.path).await?;
    let added = repository.git(&["remote", "add", "--", name, &shown_url]).run().await?;
    // Git's code for a remote that exists.
    if added.exit.code() != 3 {
        added.success()?;
    } else if request.overwrite == Some(true) {
        let key = |name_of: &str| format!("remote.{name}.{name_of}");
        repository.git(&["config", "--local", "--replace-all", &key("url"), &shown_url]).output().await?;
        // One that is not there is as good as removed.
        repository.git(&["config", "--local", "--unset-all", &key("pushurl")]).run().await?;
    } else {
        return Err(Failure::new(Kind::Conflict, format!("the remote {name:?} exists: pass overwrite to replace it")));
    }
    if login.is_some() {
        keep_url(&repository, name, url).await?;
    }
    if request.fetch == Some(true) {
        repository.git(&["fetch", "--quiet", "--", name]).output().await.map_err(|failure| {
            Failure::new(failure.kind, format!("the remote was added, but not fetched: {}", failure.message))
        })?;
    }
    Ok(())
}

/// Writes a URL that no process may show into the configuration: as an editor, which reads it from a descriptor.
async fn keep_url(repository: &Repository<'_>, name: &str, url: &str) -> Result<(), Failure> {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let section = format!("[remote \"{}\"]\n\turl = \"{}\"\n", quoted(name), quoted(url));
    repository.git(&["config", "--local", "--unset-all", &format!("remote.{name}.url")]).output().await?;
    let git = repository.git(&["config", "--local", "--edit"]).variable("GIT_EDITOR", format!("cat {SECRET} >>"));
    git.secret(section.as_bytes())?.output().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_of_a_configuration() {
        let output =
            b"remote.origin.url\nhttps://h/a\0remote.a.b.url\n/x\0remote.origin.url\nother\0junk\0remote.url\n/y\0";
        let remote = |name: &str, url: &str| Remote { name: name.into(), url: url.into() };
        assert_eq!(parse(output), [remote("origin", "https://h/a"), remote("a.b", "/x")]);
    }
}
