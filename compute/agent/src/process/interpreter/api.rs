//! The routes of the code interpreter.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::worker::Worker;
use super::{DEFAULT, execution};
use crate::agent::Agent;
use crate::http::error::Failure;
use crate::http::request::Request;
use crate::http::response::{self, Response};
use crate::http::websocket;

const LANGUAGE: &str = "python";

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = CreateContextRequest))]
#[serde(default, deny_unknown_fields)]
pub struct Create {
    cwd: Option<String>,
    language: Option<String>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = InterpreterContext))]
#[serde(rename_all = "camelCase")]
pub struct View {
    active: bool,
    created_at: String,
    cwd: String,
    id: String,
    language: &'static str,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = ListContextsResponse))]
pub struct List {
    contexts: Vec<View>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = ContextMessage))]
pub struct Message {
    message: String,
}

impl View {
    fn new(context: &Context) -> Self {
        Self {
            active: context.is_active(),
            created_at: context.created_at.to_string(),
            cwd: context.cwd.to_string_lossy().into_owned(),
            id: context.id.clone(),
            language: LANGUAGE,
        }
    }
}

pub fn execute(agent: Arc<Agent>, request: Request) -> Result<Response, Failure> {
    websocket::upgrade(request, |socket| execution::converse(socket, agent))
}

pub async fn create(agent: &Agent, request: Request) -> Result<Response, Failure> {
    let Create { cwd, language } = request.json().await?;
    if let Some(language) = language.filter(|language| !language.is_empty() && language != LANGUAGE) {
        return Err(Failure::bad_request(format!("language {language:?} has no interpreter: use {LANGUAGE}")));
    }
    let cwd = agent.resolve(cwd.as_deref().unwrap_or(""));
    let worker = Worker::start(agent, &cwd)?;
    let context = agent.contexts.add(|id| Context::new(id, cwd, Some(worker)));
    response::json(&View::new(&context))
}

pub fn list(agent: &Agent) -> Result<Response, Failure> {
    response::json(&List { contexts: agent.contexts.list().iter().map(|context| View::new(context)).collect() })
}

pub async fn delete(agent: &Agent, id: &str) -> Result<Response, Failure> {
    if id == DEFAULT {
        return Err(Failure::bad_request("the default context cannot be deleted"));
    }
    agent.contexts.remove(id)?.delete().await;
    response::json(&Message { message: format!("interpreter context {id} is deleted") })
}
