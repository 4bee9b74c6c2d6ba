//! `POST /process/code-run`: a program text in one of the languages of the clients.

mod charts;
mod languages;

use serde::{Deserialize, Serialize};

use super::environment::Variables;
use super::execute;
use super::program::Program;
use super::shell::memory_file;
use crate::agent::Agent;
use crate::http::error::Failure;
use crate::http::response::{self, Response};

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = CodeRunRequest))]
#[serde(deny_unknown_fields)]
pub struct Request {
    code: String,
    language: String,
    argv: Option<Vec<String>>,
    envs: Option<Variables>,
    timeout: Option<i64>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = CodeRunResponse))]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    exit_code: i32,
    result: String,
    artifacts: Artifacts,
}

#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = CodeRunArtifacts))]
struct Artifacts {
    /// Figures that Python code showed; [`charts`] writes them.
    #[cfg_attr(test, schema(value_type = Vec<crate::openapi::chart::Chart>))]
    charts: [(); 0],
}

pub async fn run(agent: &Agent, request: Request) -> Result<Response, Failure> {
    if request.code.trim().is_empty() {
        return Err(Failure::bad_request("code is required: give the program's text"));
    }
    let timeout = execute::timeout(request.timeout)?;
    let variables = agent.variables(request.envs)?;
    let mut interpreter = languages::prepare(&request.language, &request.code, &variables)?;
    interpreter.arguments.extend(request.argv.unwrap_or_default());
    let mut drawings = None;
    if interpreter.draws {
        let file = memory_file(b"")?;
        interpreter.files.push(file.try_clone()?.into());
        drawings = Some(file);
    }
    let program = Program {
        path: &interpreter.path,
        arguments: interpreter.arguments,
        variables: &variables,
        directory: &agent.work_dir,
    };
    let answer = execute::run(agent, program, interpreter.input, interpreter.files, timeout).await?;
    let answer = Answer { exit_code: answer.exit_code, result: answer.result, artifacts: Artifacts::default() };
    match drawings {
        Some(file) if file.metadata()?.len() > 0 => charts::answer(&answer, file),
        _ => response::json(&answer),
    }
}
