//! The repository that a request is about.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::command::Git;
use super::login::Login;
use crate::agent::Agent;
use crate::http::error::{Failure, Kind};
use crate::http::request::blocking;

/// A directory in which git is run.
pub struct Repository<'a> {
    agent: &'a Agent,
    directory: PathBuf,
}

impl<'a> Repository<'a> {
    /// The repository at a path of a request: there, not above it, where git would go on to look.
    pub async fn open(agent: &'a Agent, path: &str) -> Result<Self, Failure> {
        Self::find(agent, path, |directory| {
            if has_repository(directory) {
                return Ok(());
            }
            Err(Failure::new(Kind::GitRepoNotFound, format!("is not a git repository: {}", directory.display())))
        })
        .await
    }

    /// A directory in which one is to be made.
    pub async fn future(agent: &'a Agent, path: &str) -> Result<Self, Failure> {
        Self::find(agent, path, |_| Ok(())).await
    }

    async fn find(agent: &'a Agent, path: &str, check: fn(&Path) -> Result<(), Failure>) -> Result<Self, Failure> {
        if path.is_empty() {
            return Err(Failure::bad_request("path is required: name the repository's directory"));
        }
        let path = agent.resolve(path);
        let directory = blocking(move || {
            let directory = existing(&path)?;
            check(&directory)?;
            Ok(directory)
        });
        Ok(Self { agent, directory: directory.await? })
    }

    /// Git, in no repository.
    pub fn none(agent: &'a Agent) -> Self {
        Self { agent, directory: PathBuf::from("/") }
    }

    pub fn git(&self, arguments: &[&str]) -> Git<'_> {
        Git::new(self.agent, &self.directory, arguments)
    }

    /// The branch that is checked out, also one without a commit; none when `HEAD` is detached.
    pub async fn current_branch(&self) -> Result<Option<String>, Failure> {
        let outcome = self.git(&["symbolic-ref", "--quiet", "HEAD"]).run().await?;
        if outcome.exit.code() == 1 {
            return Ok(None);
        }
        let name = outcome.line();
        outcome.success()?;
        Ok(Some(name.strip_prefix("refs/heads/").unwrap_or(&name).to_owned()))
    }

    /// The branch that a call is about: the named one or the current one.
    pub async fn branch_or_current(&self, named: Option<&str>) -> Result<String, Failure> {
        match named {
            Some(named) => Ok(named.to_owned()),
            None => self.current_branch().await?.ok_or_else(|| {
                Failure::bad_request("HEAD is detached, so there is no current branch: name one, or check one out")
            }),
        }
    }

    /// The hash of a commit.
    pub async fn commit(&self, revision: &str) -> Result<String, Failure> {
        let git = self.git(&["rev-parse", "--verify", "--end-of-options"]).argument(format!("{revision}^{{commit}}"));
        let outcome = git.run().await?;
        let hash = outcome.line();
        outcome.success().map(|_| hash)
    }

    /// Whether `HEAD` is a branch without a commit.
    pub async fn is_unborn(&self) -> Result<bool, Failure> {
        let head = self.git(&["rev-parse", "--verify", "--quiet", "HEAD"]).run().await?;
        Ok(!head.succeeded() && self.current_branch().await.is_ok_and(|branch| branch.is_some()))
    }

    /// A setting of any scope.
    pub async fn setting(&self, key: &str) -> Result<Option<String>, Failure> {
        self.git(&["config", "--null", "--get", "--", key]).run().await?.value()
    }

    /// Where a remote is, with the rewriting that the configuration asks for. Only a login needs to know.
    pub async fn remote_url(&self, remote: &str, push: bool, login: Option<&Login>) -> Result<String, Failure> {
        if login.is_none() {
            return Ok(String::new());
        }
        let git = self.git(&["remote", "get-url"]).argument_if(push, "--push").argument("--").argument(remote);
        let outcome = git.run().await?;
        let url = outcome.line();
        outcome.success().map(|_| url)
    }
}

/// Whether git finds one in this very directory: a work tree or the repository's own directory. See
/// gitrepository-layout(5) and `is_git_directory` in git's source; a file `.git` leads to it, or git itself says why not.
fn has_repository(directory: &Path) -> bool {
    let is_repository = |path: &Path| {
        let kept = |name: &str| path.join(name).is_dir();
        fs::symlink_metadata(path.join("HEAD")).is_ok()
            && (kept("objects") && kept("refs") || path.join("commondir").is_file())
    };
    let inner = directory.join(".git");
    inner.is_file() || is_repository(&inner) || is_repository(directory)
}

fn existing(path: &Path) -> Result<PathBuf, Failure> {
    let found = fs::canonicalize(path).and_then(|real| match fs::metadata(&real)?.is_dir() {
        true => Ok(real),
        false => Err(io::ErrorKind::NotADirectory.into()),
    });
    found.map_err(|error| Failure::file(path, &error))
}
