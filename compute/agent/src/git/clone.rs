//! `POST /git/clone`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::command::Git;
use super::destination::Destination;
use super::login::{self, Login};
use super::names;
use super::running::{Outcome, Running};
use super::url;
use crate::agent::Agent;
use crate::http::error::Failure;
use crate::http::request::blocking;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitCloneRequest))]
#[serde(deny_unknown_fields)]
pub struct Request {
    url: String,
    path: String,
    /// Or a tag; the remote's `HEAD` when absent.
    branch: Option<String>,
    /// Checked out in the end, with `HEAD` detached.
    commit_id: Option<String>,
    /// A shallow clone of so many commits.
    depth: Option<i64>,
    /// Only for this call: it is not kept in the configuration.
    insecure_skip_tls: Option<bool>,
    username: Option<String>,
    password: Option<String>,
}

/// Clones into a directory that is new or empty. A clone that fails, or whose caller hangs up, leaves nothing. A
/// password in the URL is used like one of the request, and not kept either.
pub async fn clone(agent: &Agent, request: Request) -> Result<(), Failure> {
    let (url, login_of_url) = url::without_login(names::check("url", &request.url)?);
    let branch = names::optional("branch", request.branch.as_deref())?;
    let commit = names::optional("commit_id", request.commit_id.as_deref())?;
    let depth = depth(request.depth)?;
    if request.path.is_empty() {
        return Err(Failure::bad_request("path is required: name the directory to clone into"));
    }
    let login = login::given(request.username, request.password)?.or(login_of_url);
    let path = agent.resolve(&request.path);
    let mut attempt = Attempt {
        agent,
        destination: Some(blocking(move || Destination::prepare(&path)).await?),
        running: None,
        login,
        insecure: request.insecure_skip_tls == Some(true),
        depth,
    };
    match attempt.fetch_all(&url, branch, commit).await {
        Ok(()) => {
            attempt.destination = None;
            Ok(())
        }
        Err(failure) => {
            attempt.undo().await;
            Err(failure)
        }
    }
}

fn depth(depth: Option<i64>) -> Result<Option<i64>, Failure> {
    match depth {
        Some(..=0) => Err(Failure::bad_request("depth must be at least 1: leave it out for the whole history")),
        depth => Ok(depth),
    }
}

/// A clone on its way. Dropped before its end, it is undone.
struct Attempt<'a> {
    agent: &'a Agent,
    /// None when the clone is complete.
    destination: Option<Destination>,
    running: Option<Running>,
    login: Option<Login>,
    insecure: bool,
    depth: Option<i64>,
}

impl Attempt<'_> {
    async fn fetch_all(&mut self, url: &str, branch: Option<&str>, commit: Option<&str>) -> Result<(), Failure> {
        let mut arguments = vec!["clone".to_owned(), "--quiet".to_owned()];
        arguments.extend(branch.map(|branch| format!("--branch={branch}")));
        if let Some(depth) = self.depth {
            // A clone of a path is whole unless it goes the way of remote ones.
            arguments.extend([format!("--depth={depth}"), "--no-local".to_owned()]);
        }
        if commit.is_some() {
            arguments.push("--no-checkout".to_owned());
        }
        let target = self.target()?.to_string_lossy().into_owned();
        arguments.extend(["--".to_owned(), url.to_owned(), target]);
        let effective = self.effective_url(url).await?;
        // Relative paths are URLs too.
        self.step_in(&self.agent.work_dir, &arguments, &effective).await?.success()?;
        if let Some(commit) = commit {
            self.check_out(commit, &effective).await?;
        }
        Ok(())
    }

    /// A shallow clone, or a commit that no branch leads to, needs a fetch of its own.
    async fn check_out(&mut self, commit: &str, url: &str) -> Result<(), Failure> {
        let word = |text: &str| text.to_owned();
        let probe = ["cat-file", "-e", &format!("{commit}^{{commit}}")].map(word);
        let mut revision = commit;
        if !self.step(&probe, url).await?.succeeded() {
            let mut fetch = ["fetch", "--quiet"].map(word).to_vec();
            fetch.extend(self.depth.map(|depth| format!("--depth={depth}")));
            fetch.extend(["--", "origin", commit].map(word));
            self.step(&fetch, url).await?.success()?;
            revision = "FETCH_HEAD";
        }
        self.step(&["checkout", "--quiet", "--detach", revision, "--"].map(word), url).await?.success()?;
        Ok(())
    }

    /// Where the configuration leads this URL. Only a login needs to know.
    async fn effective_url(&mut self, url: &str) -> Result<String, Failure> {
        if self.login.is_none() {
            return Ok(String::new());
        }
        let outcome = self.step(&["ls-remote", "--get-url", "--", url].map(str::to_owned), "").await?;
        let url = outcome.line();
        outcome.success().map(|_| url)
    }

    fn target(&self) -> Result<PathBuf, Failure> {
        let destination = self.destination.as_ref().ok_or_else(|| Failure::internal("the clone is complete"))?;
        Ok(destination.path.clone())
    }

    async fn step(&mut self, arguments: &[String], url: &str) -> Result<Outcome, Failure> {
        let directory = self.target()?;
        self.step_in(&directory, arguments, url).await
    }

    async fn step_in(&mut self, directory: &Path, arguments: &[String], url: &str) -> Result<Outcome, Failure> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut git = Git::new(self.agent, directory, &arguments).login(self.login.as_ref(), url)?;
        if self.insecure {
            git = git.variable("GIT_SSL_NO_VERIFY", "1");
        }
        let running = self.running.insert(git.start()?);
        let mut output = Vec::new();
        while let Some(piece) = running.next().await? {
            output.extend(piece);
        }
        match self.running.take() {
            Some(running) => Ok(running.end(output).await),
            None => Err(Failure::internal("the clone has lost its process")),
        }
    }

    /// Ends git and removes what there is; on a task of its own, which no caller can cut short.
    fn undo(&mut self) -> impl Future<Output = ()> + use<> {
        let (running, destination) = (self.running.take(), self.destination.take());
        let task = tokio::runtime::Handle::try_current().ok().map(|runtime| {
            runtime.spawn(async move {
                if let Some(running) = running {
                    running.stop().await;
                }
                if let Some(destination) = destination {
                    // What cannot be removed is the user's to look at; there is a failure to report already.
                    let _ = blocking(move || Ok(destination.remove()?)).await;
                }
            })
        });
        async move {
            if let Some(task) = task {
                // Lost only when the sandbox stops.
                let _ = task.await;
            }
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.destination.is_some() {
            drop(self.undo());
        }
    }
}
