//! `POST /process/execute`: one command through a shell.
//!
//! The answer comes when the command itself has ended, with what was written until then. What it left in the background
//! goes on; what that writes later is dropped. When the caller hangs up, the command is killed, for nobody can read its
//! result any more; the official server lets it run on.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::engine::{Process, Streams};
use super::environment::{self, Variables};
use super::ledger::{Keep, Ledger};
use super::program::Program;
use super::shell;
use super::spawn::SpawnError;
use crate::agent::Agent;
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
    let program = Program { path: &shell, arguments, variables: &variables, directory: &directory };
    run(agent, program, None, files, timeout).await
}

/// What one answer holds of a program's output. A program may write more: it is read, counted and dropped, so that
/// neither the program stops nor the sandbox's memory fills.
const LIMIT: usize = 16 * 1024 * 1024;
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
pub async fn run(
    agent: &Agent,
    program: Program<'_>,
    input: Option<OwnedFd>,
    files: Vec<OwnedFd>,
    timeout: Option<Duration>,
) -> Result<Answer, Failure> {
    let ledger = Arc::new(Ledger::new(Keep::First, LIMIT));
    let process = match Process::start(agent, &program, Streams::Joined { input }, files, Arc::clone(&ledger)) {
        Ok(process) => process,
        Err(error @ SpawnError::Stopping) => return Err(error.into()),
        Err(error) => return Ok(Answer { exit_code: -1, result: error.to_string() }),
    };
    let end = match timeout {
        None => process.ended().await,
        Some(limit) => match tokio::time::timeout(limit, process.ended()).await {
            Ok(end) => end,
            Err(_) => {
                // Whoever asked must not find it any more.
                let gone = async { (process.kill().await, process.silent().await) };
                let _ = tokio::time::timeout(KILL_PATIENCE, gone).await;
                return Err(Failure::execution_timeout());
            }
        },
    };
    let (mut result, dropped) = ledger.take_text();
    if dropped > 0 {
        result.push_str(&format!(
            "\n[output truncated: {dropped} more bytes; write long output to a file and download it]\n"
        ));
    }
    result.extend(end.note);
    Ok(Answer { exit_code: end.exit.code(), result })
}

/// `POST /env`.
pub fn change_environment(agent: &Agent, change: environment::Change) -> Result<(), Failure> {
    environment::apply(&mut agent.environment.lock(), change)
}
