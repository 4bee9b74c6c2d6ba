//! The routes of sessions.

use std::sync::Arc;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::command::Command;
use super::{ENTRYPOINT, Session, follow, shell};
use crate::agent::Agent;
use crate::http::error::Failure;
use crate::http::request::Request;
use crate::http::response::{self, Response};
use crate::http::websocket;
use crate::process;
use crate::process::ledger::Texts;

const SDK_VERSION: &str = "x-daytona-sdk-version";
/// The first version of the SDKs that takes logs apart itself.
const FRAMED_LOGS: (u32, u32) = (0, 27);
/// The first one that reads them as JSON.
const JSON_LOGS: (u32, u32) = (0, 167);

/// How a client reads logs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Both streams as one text, which is followed by a plain answer without an end.
    Text,
    /// Pieces that are marked with their streams.
    Framed,
    Json,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = CreateSessionRequest))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Create {
    session_id: String,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = SessionExecuteRequest))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Execute {
    command: String,
    run_async: Option<bool>,
    r#async: Option<bool>,
    suppress_input_echo: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = SessionSendInputRequest))]
#[serde(deny_unknown_fields)]
pub struct Input {
    data: String,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = SessionExecuteResponse))]
#[serde(rename_all = "camelCase")]
pub struct Executed {
    cmd_id: String,
    #[serde(flatten)]
    texts: Texts,
    exit_code: i32,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = SessionStartedResponse))]
#[serde(rename_all = "camelCase")]
pub struct Started {
    cmd_id: String,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = Session))]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    session_id: String,
    commands: Vec<CommandView>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = Command))]
#[serde(rename_all = "camelCase")]
pub struct CommandView {
    id: String,
    command: String,
    /// Absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
}

impl CommandView {
    fn new(command: &Command) -> Self {
        Self { id: command.id.clone(), command: command.text.clone(), exit_code: command.exit_code() }
    }
}

impl SessionView {
    fn new(session: &Session) -> Self {
        let commands = session.commands();
        Self { session_id: session.id.clone(), commands: commands.iter().map(|one| CommandView::new(one)).collect() }
    }
}

pub async fn create(agent: &Agent, request: Request) -> Result<Response, Failure> {
    let Create { session_id } = request.json().await?;
    if session_id == ENTRYPOINT {
        return Err(Failure::bad_request(format!("sessionId {session_id:?} is reserved: use another one")));
    }
    process::check_id("sessionId", &session_id)?;
    agent.sessions.add(&session_id, || shell::start(agent, &session_id))?;
    Ok(response::empty(StatusCode::CREATED))
}

pub fn list(agent: &Agent) -> Result<Response, Failure> {
    let sessions = agent.sessions.list();
    response::json(&sessions.iter().map(|session| SessionView::new(session)).collect::<Vec<_>>())
}

pub fn get(agent: &Agent, id: &str) -> Result<Response, Failure> {
    response::json(&SessionView::new(&*agent.sessions.get(id)?))
}

pub async fn delete(agent: &Agent, id: &str) -> Result<Response, Failure> {
    if id == ENTRYPOINT {
        return Err(Failure::bad_request("the entrypoint's session lives as long as the sandbox"));
    }
    agent.sessions.remove(id)?.delete().await;
    Ok(response::empty(StatusCode::NO_CONTENT))
}

pub async fn execute(agent: &Agent, id: &str, request: Request) -> Result<Response, Failure> {
    let session = agent.sessions.get(id)?;
    let form = Form::of(&request);
    let Execute { command, run_async, r#async, suppress_input_echo } = request.json().await?;
    if command.trim().is_empty() || command.contains('\0') {
        return Err(Failure::bad_request("command is required: give a command line without zero bytes"));
    }
    let is_async = run_async.or(r#async).unwrap_or(false);
    let command = Arc::new(if is_async {
        Command::with_input(command, !suppress_input_echo.unwrap_or(false))
    } else {
        Command::new(command)
    });
    session.submit(Arc::clone(&command))?;
    // The session can be deleted while this waits.
    drop(session);
    if is_async {
        return response::json_with(StatusCode::ACCEPTED, &Started { cmd_id: command.id.clone() });
    }
    let exit_code = command.ended().await;
    let mut texts = command.ledger.texts();
    if form == Form::Framed {
        texts.output = String::from_utf8_lossy(&command.ledger.framed()).into_owned();
    }
    response::json(&Executed { cmd_id: command.id.clone(), texts, exit_code })
}

pub async fn command(agent: &Agent, id: &str, command: &str) -> Result<Response, Failure> {
    let command = agent.sessions.get(id)?.command(command)?;
    command.first_look().await;
    response::json(&CommandView::new(&command))
}

pub async fn input(agent: &Agent, id: &str, command: &str, request: Request) -> Result<Response, Failure> {
    let command = agent.sessions.get(id)?.command(command)?;
    let Input { data } = request.json().await?;
    command.give_input(data).await?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}

/// As JSON, or followed when the request asks for it by an upgrade.
pub fn logs(agent: &Agent, id: &str, command: &str, request: Request) -> Result<Response, Failure> {
    let command = agent.sessions.get(id)?.command(command)?;
    show(command, request)
}

/// Empty without an entrypoint.
pub async fn entrypoint_logs(agent: &Agent, request: Request) -> Result<Response, Failure> {
    match agent.sessions.get(ENTRYPOINT)?.commands().into_iter().next() {
        Some(command) => show(command, request),
        None => {
            let nothing = Arc::new(Command::new(String::new()));
            nothing.finish(0).await;
            show(nothing, request)
        }
    }
}

fn show(command: Arc<Command>, request: Request) -> Result<Response, Failure> {
    let form = Form::of(&request);
    if request.query.flag("follow")? {
        return match form {
            Form::Text => Ok(follow::as_text(command)),
            Form::Framed | Form::Json => websocket::upgrade(request, |socket| follow::follow(socket, command)),
        };
    }
    match form {
        Form::Text => Ok(response::plain(command.ledger.texts().output.into_bytes())),
        Form::Framed => Ok(response::plain(command.ledger.framed())),
        Form::Json => response::json(&command.ledger.texts()),
    }
}

impl Form {
    /// Who is no SDK of a version that is known reads JSON.
    fn of(request: &Request) -> Self {
        let version = request.parts.headers.get(SDK_VERSION).and_then(|version| version.to_str().ok());
        let numbers = version.and_then(|version| {
            let mut numbers = version.trim_start_matches('v').split('.').map(|number| number.parse::<u32>().ok());
            Some((numbers.next()??, numbers.next()??))
        });
        match numbers {
            Some(numbers) if numbers < FRAMED_LOGS => Self::Text,
            Some(numbers) if numbers < JSON_LOGS => Self::Framed,
            _ => Self::Json,
        }
    }
}
