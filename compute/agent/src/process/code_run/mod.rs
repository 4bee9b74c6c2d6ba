//! `POST /process/code-run`: a program text in one of the languages of the clients.

mod languages;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::capture::Capture;
use super::environment::Variables;
use super::execute::{self, Task};
use crate::agent::Agent;
use crate::http::error::Failure;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = CodeRunRequest))]
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
    /// Figures that Python code showed, as `charts.py` describes them.
    #[cfg_attr(test, schema(value_type = Vec<crate::openapi::chart::Chart>))]
    charts: Vec<Box<RawValue>>,
}

pub async fn run(agent: &Agent, request: Request) -> Result<Answer, Failure> {
    if request.code.trim().is_empty() {
        return Err(Failure::bad_request("code is required: give the program's text"));
    }
    let timeout = execute::timeout(request.timeout)?;
    let variables = agent.variables(request.envs)?;
    let mut interpreter = languages::prepare(&request.language, &request.code, &variables)?;
    interpreter.arguments.extend(request.argv.unwrap_or_default());
    let mut drawings = None;
    if interpreter.draws {
        let (capture, writer) = Capture::new()?;
        interpreter.files.push(writer);
        drawings = Some(capture);
    }
    let task = Task {
        program: &interpreter.path,
        arguments: interpreter.arguments,
        variables: &variables,
        directory: &agent.work_dir,
        input: interpreter.input,
        files: interpreter.files,
    };
    let answer = execute::run(agent, task, timeout, drawings.as_mut()).await?;
    Ok(Answer { exit_code: answer.exit_code, result: answer.result, artifacts: artifacts(drawings) })
}

/// One chart a line; a last line that was cut off is none.
fn artifacts(drawings: Option<Capture>) -> Artifacts {
    let text = drawings.map(Capture::into_text).unwrap_or_default();
    Artifacts { charts: text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect() }
}
