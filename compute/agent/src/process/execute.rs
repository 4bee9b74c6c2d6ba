//! `POST /process/execute`: one command through a shell.
//!
//! The answer comes when the command itself has ended, with what was written until then. What it left in the background
//! goes on; what that writes later is dropped. When the caller hangs up, the command is killed, for nobody can read its
//! result any more; the official server lets it run on.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::capture::Capture;
use super::children::Exit;
use super::environment::{self, Variables};
use super::job::Job;
use super::program::Program;
use super::shell;
use super::spawn::SpawnError;
use crate::agent::Agent;
use crate::guest::memory::Kills;
use crate::http::error::Failure;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = ExecuteRequest))]
#[serde(deny_unknown_fields)]
pub struct Request {
    command: String,
    cwd: Option<String>,
    envs: Option<Variables>,
    /// Seconds; absent and 0 are none.
    timeout: Option<i64>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = ExecuteResponse))]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub exit_code: i32,
    /// Standard output and standard error, as they came.
    pub result: String,
}

pub async fn execute(agent: &Agent, request: Request) -> Result<Answer, Failure> {
    if request.command.trim().is_empty() {
        return Err(Failure::bad_request("command is required: give the command line to run"));
    }
    if request.command.contains('\0') {
        return Err(Failure::bad_request("command has a zero byte, which no shell can read"));
    }
    let timeout = timeout(request.timeout)?;
    let variables = agent.variables(request.envs)?;
    let shell = shell::find(&variables)
        .ok_or_else(|| Failure::internal("the image has no shell: install bash or sh, or use another snapshot"))?;
    let (arguments, script) = shell::arguments(&request.command)?;
    let directory = agent.resolve(request.cwd.as_deref().unwrap_or(""));
    let files = script.map(Into::into).into_iter().collect();
    let task = Task { program: &shell, arguments, variables: &variables, directory: &directory, input: None, files };
    run(agent, task, timeout).await
}

/// A program that is run to its end.
pub struct Task<'a> {
    pub program: &'a Path,
    pub arguments: Vec<String>,
    pub variables: &'a Variables,
    pub directory: &'a Path,
    /// Its standard input; empty without.
    pub input: Option<OwnedFd>,
    /// Its descriptors from 3 on.
    pub files: Vec<OwnedFd>,
}

/// How long the end of a killed program may keep its caller waiting; the kernel needs milliseconds.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// Checks a timeout in seconds: none for 0.
pub fn timeout(seconds: Option<i64>) -> Result<Option<Duration>, Failure> {
    match seconds.unwrap_or(0) {
        0 => Ok(None),
        seconds => match u32::try_from(seconds) {
            Ok(seconds) => Ok(Some(Duration::from_secs(seconds.into()))),
            Err(_) => Err(Failure::bad_request(format!("timeout is {seconds}: give seconds, or 0 for none"))),
        },
    }
}

/// Runs a program to its end. One that cannot be started exits with -1 and says why.
pub async fn run(agent: &Agent, task: Task<'_>, timeout: Option<Duration>) -> Result<Answer, Failure> {
    let (mut capture, writer) = Capture::new()?;
    // The agent's own standard input is /dev/null.
    let nothing = std::io::stdin();
    let input = task.input.as_ref().map_or(nothing.as_fd(), AsFd::as_fd);
    let mut descriptors = vec![input, writer.as_fd(), writer.as_fd()];
    descriptors.extend(task.files.iter().map(AsFd::as_fd));
    let program = Program {
        path: task.program,
        arguments: task.arguments,
        variables: task.variables,
        directory: task.directory,
        descriptors: &descriptors,
        terminal: false,
    };
    let kills = Kills::count();
    let mut job = match Job::start(&program, &agent.children, &agent.identity) {
        Ok(job) => job,
        Err(error @ SpawnError::Stopping) => return Err(error.into()),
        Err(error) => return Ok(Answer { exit_code: -1, result: error.to_string() }),
    };
    // The pipes end when the last of the child's ends is closed; these are ours.
    drop((writer, task.input, task.files));
    let finish = async {
        tokio::select! {
            exit = job.wait() => Ok::<Exit, std::io::Error>(exit),
            read = capture.read_to_end() => {
                read?;
                Ok(job.wait().await)
            }
        }
    };
    let exit = match timeout {
        None => finish.await?,
        Some(limit) => match tokio::time::timeout(limit, finish).await {
            Ok(exit) => exit?,
            Err(_) => {
                job.kill();
                // Whoever asked must not find it any more.
                let ended = async { (capture.read_to_end().await, job.wait().await) };
                let _ = tokio::time::timeout(KILL_PATIENCE, ended).await;
                return Err(Failure::execution_timeout());
            }
        },
    };
    let mut result = capture.into_text();
    result.extend(kills.explain(exit));
    Ok(Answer { exit_code: exit.code(), result })
}

/// `POST /env`.
pub fn change_environment(agent: &Agent, change: environment::Change) -> Result<(), Failure> {
    environment::apply(&mut agent.environment.lock(), change)
}
