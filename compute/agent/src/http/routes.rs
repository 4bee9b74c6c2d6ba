//! The list of routes.

use std::sync::Arc;

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use sebring_types::agent::{PREPARE_PATH, RESERVED_PATH, RESUMED_PATH};

use super::error::{Failure, Place};
use super::queries;
use super::request::Request;
use super::response::{self, Response};
use crate::agent::Agent;
use crate::lsp::api as lsp;
use crate::process::interpreter::api as interpreter;
use crate::process::pty::api as pty;
use crate::process::session::api as session;
use crate::process::{code_run, execute};
use crate::{checkpoint, desktop, files, git, system};

/// Answers any request; failures become the one shape that clients know.
pub async fn answer(agent: Arc<Agent>, request: Request) -> Response {
    let method = request.parts.method.clone();
    let uri = request.parts.uri.clone();
    let unread = request.unread();
    let routed = route(agent, request).await;
    unread.read_to_end().await;
    match routed {
        Ok(response) => response,
        Err(failure) => response::failure(&failure, Place { method: method.as_str(), path: uri.path() }),
    }
}

async fn route(agent: Arc<Agent>, request: Request) -> Result<Response, Failure> {
    let path = request.parts.uri.path().to_owned();
    let segments = segments(&path)?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (get, post, delete) = match request.parts.method {
        Method::GET | Method::HEAD => (true, false, false),
        Method::POST => (false, true, false),
        Method::DELETE => (false, false, true),
        _ => (false, false, false),
    };
    // Of calls that have nothing to tell.
    let ok = |()| done();
    let created = |()| response::empty(StatusCode::CREATED);
    let deleted = |()| response::empty(StatusCode::NO_CONTENT);
    queries::check(&request.parts.method, &segments, &request.query)?;
    match segments[..] {
        [RESERVED_PATH, ..] => match path.as_str() {
            PREPARE_PATH if post => Ok(checkpoint::prepare(&agent, &request)),
            RESUMED_PATH if post => checkpoint::resumed(&agent, request.json().await?).map(ok),
            _ => Err(no_such_route(&request.parts.method, &path)),
        },

        ["process", "execute"] if post => response::json(&execute::execute(&agent, request.json().await?).await?),
        ["process", "code-run"] if post => code_run::run(&agent, request.json().await?).await,

        ["process", "session"] if post => session::create(&agent, request).await,
        ["process", "session"] if get => session::list(&agent),
        ["process", "session", "entrypoint", "logs"] if get => session::entrypoint_logs(&agent, request).await,
        ["process", "session", id] if get => session::get(&agent, id),
        ["process", "session", id] if delete => session::delete(&agent, id).await,
        ["process", "session", id, "exec"] if post => session::execute(&agent, id, request).await,
        ["process", "session", id, "command", command] if get => session::command(&agent, id, command).await,
        ["process", "session", id, "command", command, "logs"] if get => session::logs(&agent, id, command, request),
        ["process", "session", id, "command", command, "input"] if post => {
            session::input(&agent, id, command, request).await
        }

        ["process", "pty"] if post => pty::create(&agent, request).await,
        ["process", "pty"] if get => pty::list(&agent),
        ["process", "pty", "create-connect"] if get => pty::create_and_connect(&agent, request),
        ["process", "pty", id] if get => pty::get(&agent, id),
        ["process", "pty", id] if delete => pty::delete(&agent, id).await,
        ["process", "pty", id, "connect"] if get => pty::connect(&agent, id, request),
        ["process", "pty", id, "resize"] if post => pty::resize(&agent, id, request).await,

        ["process", "interpreter", "execute"] if get => interpreter::execute(agent, request),
        ["process", "interpreter", "context"] if post => interpreter::create(&agent, request).await,
        ["process", "interpreter", "context"] if get => interpreter::list(&agent),
        ["process", "interpreter", "context", id] if delete => interpreter::delete(&agent, id).await,

        ["files"] if get => files::list::list(&agent, &request).await,
        ["files"] if delete => files::delete::delete(&agent, &request).await,
        ["files", "info"] if get => files::info::info(&agent, &request).await,
        ["files", "folder"] if post => files::folder::create(&agent, &request).await,
        ["files", "move"] if post => files::rename::rename(&agent, &request).await,
        ["files", "permissions"] if post => files::permissions::set(&agent, &request).await,
        ["files", "find"] if get => files::find::find(&agent, &request).await,
        ["files", "search"] if get => files::search::search(&agent, &request).await,
        ["files", "replace"] if post => files::replace::replace(&agent, request).await,
        ["files", "watch"] if get => files::watch::watch(&agent, &request).await,
        ["files", "download"] if get => files::download::download(&agent, &request).await,
        ["files", "bulk-download"] if post => files::bulk_download::download(agent, request).await,
        ["files", "upload" | "upload-v2"] if post => files::upload::upload(&agent, request).await,
        ["files", "bulk-upload"] if post => files::bulk_upload::upload(agent, request).await,

        ["git", "clone"] if post => git::clone::clone(&agent, request.json().await?).await.map(ok),
        ["git", "init"] if post => git::init::init(&agent, request.json().await?).await.map(created),
        ["git", "status"] if get => {
            response::json(&git::status::status(&agent, request.query.required("path")?).await?)
        }
        ["git", "history"] if get => git::history::history(&agent, request.query.required("path")?).await,
        ["git", "add"] if post => git::add::add(&agent, request.json().await?).await.map(ok),
        ["git", "commit"] if post => response::json(&git::commit::commit(&agent, request.json().await?).await?),
        ["git", "push"] if post => git::push::push(&agent, request.json().await?).await.map(ok),
        ["git", "pull"] if post => git::pull::pull(&agent, request.json().await?).await.map(ok),
        ["git", "branches"] if get => {
            response::json(&git::branches::list(&agent, request.query.required("path")?).await?)
        }
        ["git", "branches"] if post => git::branches::create(&agent, request.json().await?).await.map(created),
        ["git", "branches"] if delete => git::branches::delete(&agent, request.json().await?).await.map(deleted),
        ["git", "checkout"] if post => git::checkout::checkout(&agent, request.json().await?).await.map(ok),
        ["git", "reset"] if post => git::reset::reset(&agent, request.json().await?).await.map(ok),
        ["git", "restore"] if post => git::restore::restore(&agent, request.json().await?).await.map(ok),
        ["git", "remotes"] if get => {
            response::json(&git::remotes::list(&agent, request.query.required("path")?).await?)
        }
        ["git", "remotes"] if post => git::remotes::add(&agent, request.json().await?).await.map(created),
        ["git", "config"] if get => {
            let query = &request.query;
            let (key, path, scope) = (query.required("key")?, query.get("path"), query.get("scope"));
            response::json(&git::config::get(&agent, key, path, scope).await?)
        }
        ["git", "config"] if post => git::config::set(&agent, request.json().await?).await.map(ok),
        ["git", "config", "user"] if post => git::config::set_user(&agent, request.json().await?).await.map(ok),
        ["git", "credentials"] if post => git::credentials::store(&agent, request.json().await?).await.map(ok),

        ["lsp", "start"] if post => lsp::start(&agent, request.json().await?).await.map(ok),
        ["lsp", "stop"] if post => lsp::stop(&agent, request.json().await?).await.map(ok),
        ["lsp", "did-open"] if post => lsp::open(&agent, request.json().await?).await.map(ok),
        ["lsp", "did-close"] if post => lsp::close(&agent, request.json().await?).await.map(ok),
        ["lsp", "completions"] if post => response::json(&lsp::completions(&agent, request.json().await?).await?),
        ["lsp", "document-symbols"] if get => response::json(&lsp::document_symbols(&agent, &request.query).await?),
        ["lsp", "workspacesymbols" | "workspace-symbols"] if get => {
            response::json(&lsp::workspace_symbols(&agent, &request.query).await?)
        }

        ["computeruse", ref rest @ ..] => Err(desktop::unavailable(rest.first().copied())),

        ["user-home-dir"] if get => response::json(&system::home_dir(&agent)),
        // The latter up to 0.25.
        ["work-dir" | "project-dir"] if get => response::json(&system::work_dir(&agent)),
        ["version"] if get => response::json(&system::version()),
        ["init"] if post => response::json(&system::initialize()),
        ["env"] if post => {
            execute::change_environment(&agent, request.json().await?)?;
            response::json(&system::Message { message: "environment updated" })
        }
        ["system", "metrics"] if get => response::json(&system::metrics::read(&agent)?),
        ["port"] if get => response::json(&system::ports::list()),
        ["port", port, "in-use"] if get => response::json(&system::ports::in_use(port)?),

        _ => Err(no_such_route(&request.parts.method, &path)),
    }
}

fn no_such_route(method: &Method, path: &str) -> Failure {
    Failure::not_found(format!("no such route: {method} {path}"))
}

/// The path's parts, each decoded on its own, without empty ones at the ends.
pub fn segments(path: &str) -> Result<Vec<String>, Failure> {
    let decode = |segment: &str| {
        let decoded = percent_decode_str(segment).decode_utf8();
        decoded.map(|text| text.into_owned()).map_err(|_| Failure::bad_request("the path is not UTF-8"))
    };
    path.trim_matches('/').split('/').map(decode).collect()
}

/// 200 without a body, for calls that have nothing to tell.
pub fn done() -> Response {
    response::empty(StatusCode::OK)
}
