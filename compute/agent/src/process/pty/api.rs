//! The routes of terminals.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::attach;
use super::session::Pty;
use crate::agent::Agent;
use crate::http::error::{Failure, Kind};
use crate::http::request::Request;
use crate::http::response::{self, Response};
use crate::http::websocket::{self, EXIT_CONTROL};
use crate::process;
use crate::process::environment::{self, Variables};
use crate::process::terminal::Size;

/// Offered as a protocol, for upgrades have no body: base64url of a JSON object of variables follows.
const ENVIRONMENT: &str = "X-Daytona-Pty-Envs~";
const DEFAULT: Size = Size { cols: 80, rows: 24 };
const LARGEST_SIDE: i64 = 1000;

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = PtyCreateRequest))]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Create {
    id: String,
    cols: Option<i64>,
    rows: Option<i64>,
    cwd: Option<String>,
    envs: Option<Variables>,
    lazy_start: bool,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = PtyResizeRequest))]
#[serde(deny_unknown_fields)]
pub struct Resize {
    cols: i64,
    rows: i64,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = PtyCreateResponse))]
#[serde(rename_all = "camelCase")]
pub struct Created<'a> {
    session_id: &'a str,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = PtyListResponse))]
pub struct List {
    sessions: Vec<View>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = PtySessionInfo))]
#[serde(rename_all = "camelCase")]
pub struct View {
    active: bool,
    cols: u16,
    created_at: String,
    cwd: String,
    envs: Variables,
    id: String,
    lazy_start: bool,
    rows: u16,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = PtyMessage))]
pub struct Message {
    message: String,
}

impl View {
    fn new(pty: &Pty) -> Self {
        let Size { cols, rows } = pty.size();
        Self {
            active: pty.is_active(),
            cols,
            created_at: pty.created_at.to_string(),
            cwd: pty.cwd.to_string_lossy().into_owned(),
            envs: pty.envs.clone(),
            id: pty.id.clone(),
            lazy_start: pty.lazy_start,
            rows,
        }
    }
}

pub async fn create(agent: &Agent, request: Request) -> Result<Response, Failure> {
    let pty = register(agent, request.json().await?)?;
    response::json_with(StatusCode::CREATED, &Created { session_id: &pty.id })
}

/// The session is there before the upgrade is answered.
pub fn create_and_connect(agent: &Agent, request: Request) -> Result<Response, Failure> {
    websocket::check(&request)?;
    let wanted = Create {
        id: request.query.get("id").unwrap_or("").to_owned(),
        cols: request.query.parsed("cols")?,
        rows: request.query.parsed("rows")?,
        cwd: request.query.get("cwd").map(str::to_owned),
        envs: offered_environment(&websocket::offered_protocols(&request))?,
        lazy_start: false,
    };
    let pty = register(agent, wanted)?;
    attach(pty, request)
}

pub fn connect(agent: &Agent, id: &str, request: Request) -> Result<Response, Failure> {
    websocket::check(&request)?;
    let pty = agent.ptys.get(id)?;
    pty.start(agent)?;
    attach(pty, request)
}

pub fn list(agent: &Agent) -> Result<Response, Failure> {
    response::json(&List { sessions: agent.ptys.list().iter().map(|pty| View::new(pty)).collect() })
}

pub fn get(agent: &Agent, id: &str) -> Result<Response, Failure> {
    response::json(&View::new(&*agent.ptys.get(id)?))
}

pub async fn delete(agent: &Agent, id: &str) -> Result<Response, Failure> {
    let pty = agent.ptys.get(id)?;
    pty.kill().await;
    agent.ptys.remove(&pty);
    response::json(&Message { message: format!("PTY session {id} is killed") })
}

pub async fn resize(agent: &Agent, id: &str, request: Request) -> Result<Response, Failure> {
    let pty = agent.ptys.get(id)?;
    let Resize { cols, rows } = request.json().await?;
    if !pty.resize(size(Some(cols), Some(rows))?) {
        return Err(Failure::gone(format!("the shell of PTY session {id:?} has ended")));
    }
    response::json(&View::new(&pty))
}

fn register(agent: &Agent, wanted: Create) -> Result<Arc<Pty>, Failure> {
    let Create { id, cols, rows, cwd, envs, lazy_start } = wanted;
    process::check_id("id", &id)?;
    let envs = envs.unwrap_or_default();
    environment::check(&envs)?;
    let cwd = agent.resolve(cwd.as_deref().unwrap_or(""));
    let pty = Arc::new(Pty::new(id, cwd, envs, size(cols, rows)?, lazy_start));
    agent.ptys.add(Arc::clone(&pty))?;
    if !lazy_start && let Err(failure) = pty.start(agent) {
        agent.ptys.remove(&pty);
        return Err(failure);
    }
    Ok(pty)
}

fn attach(pty: Arc<Pty>, request: Request) -> Result<Response, Failure> {
    let exit_control = websocket::offered_protocols(&request).iter().any(|protocol| protocol == EXIT_CONTROL);
    websocket::upgrade(request, move |socket| attach::converse(socket, pty, exit_control))
}

/// From the protocols that a client offers.
pub fn offered_environment(offered: &[String]) -> Result<Option<Variables>, Failure> {
    let Some(encoded) = offered.iter().find_map(|protocol| protocol.strip_prefix(ENVIRONMENT)) else {
        return Ok(None);
    };
    let text = BASE64URL_NOPAD.decode(encoded.trim_end_matches('=').as_bytes()).ok();
    let variables = text.and_then(|text| serde_json::from_slice(&text).ok());
    variables.map(Some).ok_or_else(|| {
        Failure::new(Kind::BadRequest, format!("the protocol {ENVIRONMENT}… holds no base64url of a JSON object"))
    })
}

fn size(cols: Option<i64>, rows: Option<i64>) -> Result<Size, Failure> {
    let side = |name: &str, given: Option<i64>, default: u16| match given {
        None => Ok(default),
        Some(given) if (1..=LARGEST_SIDE).contains(&given) => Ok(given as u16),
        Some(given) => Err(Failure::bad_request(format!("{name} is {given}: give a number from 1 to {LARGEST_SIDE}"))),
    };
    Ok(Size { cols: side("cols", cols, DEFAULT.cols)?, rows: side("rows", rows, DEFAULT.rows)? })
}
