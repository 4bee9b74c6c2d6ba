//! Sandboxes.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use sebring_auth::Permission;
use sebring_lifecycle::Error;
use sebring_store::sandboxes::{Filter, PageRequest, Range, Setting, Sort};
use sebring_types::NetworkSettings;
use sebring_types::runner::StopMode;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Body, Caller, Client, Parameters};
use crate::validate;
use crate::wire::{
    CreateSandbox, ListSandboxesQuery, ListSandboxesResponse, NetworkLog, Order, ResizeSandbox, Sandbox, SandboxLabels,
    SandboxListItem, SortField, UpdateSandboxNetworkSettings,
};

type Answer<T> = Result<Json<T>, ApiError>;

/// Makes a sandbox; the answer comes when it can be used.
#[utoipa::path(
    post, path = "/sandbox", tag = "sandbox", operation_id = "createSandbox",
    request_body = CreateSandbox, responses((status = 200, body = Sandbox)),
)]
pub(crate) async fn create(State(app): State<App>, caller: Caller, Body(body): Body<CreateSandbox>) -> Answer<Sandbox> {
    let organization = caller.may(Permission::WriteSandboxes)?;
    let new = validate::new_sandbox(body, organization, app.config.limits)?;
    let sandbox = app.lifecycle.create(new).await.map_err(|error| match &error {
        Error::SnapshotNotFound(_) => ApiError::bad_request(error.to_string()),
        _ => error.into(),
    })?;
    Ok(Json(Sandbox::new(sandbox, &caller.url)))
}

/// How many sandboxes a page has at most, as in the contract.
const LARGEST_PAGE: u32 = 200;

/// A page of sandboxes; for clients that know no pages, all of them.
#[utoipa::path(
    get, path = "/sandbox", tag = "sandbox", operation_id = "listSandboxes",
    params(ListSandboxesQuery), responses((status = 200, body = ListSandboxesResponse)),
)]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    client: Client,
    Parameters(query): Parameters<ListSandboxesQuery>,
) -> Result<Response, ApiError> {
    let request = page_request(&query)?;
    let filter = filter(query)?;
    if client.lists_whole() {
        return Ok(Json(all(&app, &caller, &filter, request).await?).into_response());
    }
    let page = app.lifecycle.list(caller.organization(), &filter, &request).await?;
    let items = page.items.into_iter().map(|sandbox| SandboxListItem::new(sandbox, &caller.url)).collect();
    Ok(Json(ListSandboxesResponse { items, next_cursor: page.next_cursor }).into_response())
}

/// Every page, from the first that is asked for.
async fn all(app: &App, caller: &Caller, filter: &Filter, mut request: PageRequest) -> Result<Vec<Sandbox>, ApiError> {
    let mut sandboxes = Vec::new();
    request.limit = LARGEST_PAGE;
    loop {
        let page = app.lifecycle.list(caller.organization(), filter, &request).await?;
        sandboxes.extend(page.items.into_iter().map(|sandbox| Sandbox::new(sandbox, &caller.url)));
        if page.next_cursor.is_none() {
            return Ok(sandboxes);
        }
        request.cursor = page.next_cursor;
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct GetQuery {
    /// Of no effect: the answer has all there is.
    #[serde(rename = "verbose")]
    _verbose: Option<bool>,
}

/// One sandbox, by id or name. For clients that read again what they deleted, by id also one that is gone for some seconds.
#[utoipa::path(
    get, path = "/sandbox/{sandboxIdOrName}", tag = "sandbox", operation_id = "getSandbox",
    params(("sandboxIdOrName" = String, Path), GetQuery), responses((status = 200, body = Sandbox)),
)]
pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    client: Client,
    Path(sandbox): Path<String>,
    Parameters(_query): Parameters<GetQuery>,
) -> Answer<Sandbox> {
    let organization = caller.organization();
    let departed = || app.lifecycle.departed(organization, sandbox.parse().ok()?);
    let found = match app.lifecycle.get(organization, &sandbox).await {
        Err(Error::NotFound(_)) if client.rereads_deleted() => departed().ok_or(Error::NotFound(sandbox)),
        found => found,
    };
    Ok(Json(Sandbox::new(found?, &caller.url)))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// Of no effect: whatever its state, it is deleted; former clients send it.
    #[serde(rename = "force")]
    _force: Option<bool>,
}

/// Deletes a sandbox, whatever its state; its name is free at once. Who listens to events is told first.
#[utoipa::path(
    delete, path = "/sandbox/{sandboxIdOrName}", tag = "sandbox", operation_id = "deleteSandbox",
    params(("sandboxIdOrName" = String, Path), DeleteQuery), responses((status = 200, body = Sandbox)),
)]
pub(crate) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(sandbox): Path<String>,
    Parameters(_query): Parameters<DeleteQuery>,
) -> Answer<Sandbox> {
    let organization = caller.may(Permission::DeleteSandboxes)?;
    let ends = app.audience.attend(organization);
    let mut sandbox = app.lifecycle.destroy_sandbox(organization, &sandbox).await?;
    if let Some(ends) = ends {
        sandbox = ends.of(sandbox).await;
    }
    Ok(Json(Sandbox::new(sandbox, &caller.url)))
}

/// Starts a stopped sandbox; the answer comes when it can be used.
#[utoipa::path(
    post, path = "/sandbox/{sandboxIdOrName}/start", tag = "sandbox", operation_id = "startSandbox",
    params(("sandboxIdOrName" = String, Path)), responses((status = 200, body = Sandbox)),
)]
pub(crate) async fn start(State(app): State<App>, caller: Caller, Path(sandbox): Path<String>) -> Answer<Sandbox> {
    let organization = caller.may(Permission::WriteSandboxes)?;
    let sandbox = app.lifecycle.start_sandbox(organization, &sandbox).await?;
    Ok(Json(Sandbox::new(sandbox, &caller.url)))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StopQuery {
    /// `SIGKILL` at once instead of `SIGTERM` first.
    force: bool,
}

/// Ends every process of a sandbox and keeps its files.
#[utoipa::path(
    post, path = "/sandbox/{sandboxIdOrName}/stop", tag = "sandbox", operation_id = "stopSandbox",
    params(("sandboxIdOrName" = String, Path), StopQuery), responses((status = 200, body = Sandbox)),
)]
pub(crate) async fn stop(
    State(app): State<App>,
    caller: Caller,
    Path(sandbox): Path<String>,
    Parameters(query): Parameters<StopQuery>,
) -> Answer<Sandbox> {
    let organization = caller.may(Permission::WriteSandboxes)?;
    let mode = if query.force { StopMode::Force } else { StopMode::Graceful };
    let sandbox = app.lifecycle.stop_sandbox(organization, &sandbox, mode).await?;
    Ok(Json(Sandbox::new(sandbox, &caller.url)))
}

/// Replaces all labels.
#[utoipa::path(
    put, path = "/sandbox/{sandboxIdOrName}/labels", tag = "sandbox", operation_id = "replaceLabels",
    params(("sandboxIdOrName" = String, Path)), request_body = SandboxLabels,
    responses((status = 200, body = SandboxLabels)),
)]
pub(crate) async fn replace_labels(
    State(app): State<App>,
    caller: Caller,
    Path(sandbox): Path<String>,
    Body(body): Body<SandboxLabels>,
) -> Answer<SandboxLabels> {
    let organization = caller.may(Permission::WriteSandboxes)?;
    validate::labels(&body.labels)?;
    let sandbox = app.lifecycle.set_labels(organization, &sandbox, &body.labels).await?;
    Ok(Json(SandboxLabels { labels: sandbox.labels }))
}

/// Sets whether previews need no key.
#[utoipa::path(
    post, path = "/sandbox/{sandboxIdOrName}/public/{isPublic}", tag = "sandbox",
    operation_id = "updatePublicStatus",
    params(("sandboxIdOrName" = String, Path), ("isPublic" = bool, Path)),
    responses((status = 200, body = Sandbox)),
)]
pub(crate) async fn set_public(
    State(app): State<App>,
    caller: Caller,
    Path((sandbox, public)): Path<(String, String)>,
) -> Answer<Sandbox> {
    let organization = caller.may(Permission::WriteSandboxes)?;
    let wrong = |_| ApiError::bad_request(format!("{public} is neither true nor false"));
    let setting = Setting::Public(public.parse().map_err(wrong)?);
    let sandbox = app.lifecycle.set(organization, &sandbox, setting).await?;
    Ok(Json(Sandbox::new(sandbox, &caller.url)))
}

/// Changes what a sandbox may use: CPU and memory at once, the disk while it is stopped.
#[utoipa::path(
    post, path = "/sandbox/{sandboxIdOrName}/resize", tag = "sandbox", operation_id = "resizeSandbox",
    params(("sandboxIdOrName" = String, Path)), request_body = ResizeSandbox,
    responses((status = 200, body = Sandbox)),
)]
pub(crate) async fn resize(
    State(app): State<App>,
    caller: Caller,
    Path(sandbox): Path<String>,
    Body(body): Body<ResizeSandbox>,
) -> Answer<Sandbox> {
    let organization = caller.may(Permission::WriteSandboxes)?;
    let sizes = validate::sizes(&body, app.config.limits)?;
    let sandbox = app.lifecycle.resize(organization, &sandbox, sizes).await?;
    Ok(Json(Sandbox::new(sandbox, &caller.url)))
}

/// Changes what a sandbox may reach, at once; what it has open and may no longer reach ends.
#[utoipa::path(
    post, path = "/sandbox/{sandboxIdOrName}/network-settings", tag = "sandbox",
    operation_id = "updateNetworkSettings",
    params(("sandboxIdOrName" = String, Path)), request_body = UpdateSandboxNetworkSettings,
    responses((status = 200, body = Sandbox)),
)]
pub(crate) async fn update_network(
    State(app): State<App>,
    caller: Caller,
    Path(sandbox): Path<String>,
    Body(body): Body<UpdateSandboxNetworkSettings>,
) -> Answer<Sandbox> {
    let organization = caller.may(Permission::WriteSandboxes)?;
    let allow_list = body.network_allow_list.as_deref().map(validate::allow_list).transpose()?;
    let domains = body.domain_allow_list.as_deref().map(validate::domains).transpose()?;
    let change = move |network: &mut NetworkSettings| {
        network.block_all = body.network_block_all.unwrap_or(network.block_all);
        network.allow_list = allow_list.unwrap_or(std::mem::take(&mut network.allow_list));
        network.domains = domains.unwrap_or(std::mem::take(&mut network.domains));
    };
    let sandbox = app.lifecycle.set_network(organization, &sandbox, change).await?;
    Ok(Json(Sandbox::new(sandbox, &caller.url)))
}

/// What a sandbox was not let reach lately, the oldest first.
#[utoipa::path(
    get, path = "/sandbox/{sandboxIdOrName}/network-log", tag = "sandbox", operation_id = "getNetworkLog",
    params(("sandboxIdOrName" = String, Path)), responses((status = 200, body = NetworkLog)),
)]
pub(crate) async fn network_log(
    State(app): State<App>,
    caller: Caller,
    Path(sandbox): Path<String>,
) -> Answer<NetworkLog> {
    let denials = app.lifecycle.denials(caller.organization(), &sandbox).await?;
    Ok(Json(NetworkLog::new(denials)))
}

/// Counts as activity, which puts an automatic stop off.
#[utoipa::path(
    post, path = "/sandbox/{sandboxId}/last-activity", tag = "sandbox", operation_id = "updateLastActivity",
    params(("sandboxId" = String, Path)), responses((status = 201)),
)]
pub(crate) async fn last_activity(
    State(app): State<App>,
    caller: Caller,
    Path(sandbox): Path<String>,
) -> Result<StatusCode, ApiError> {
    let organization = caller.may(Permission::WriteSandboxes)?;
    app.lifecycle.touch(organization, &sandbox).await?;
    Ok(StatusCode::CREATED)
}

fn page_request(query: &ListSandboxesQuery) -> Result<PageRequest, ApiError> {
    let limit = query.limit.unwrap_or(100);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit is {limit}: give 1 to {LARGEST_PAGE}")));
    }
    let sort = match query.sort.unwrap_or(SortField::CreatedAt) {
        SortField::Name => Sort::Name,
        SortField::Cpu => Sort::Cpu,
        SortField::MemoryGib => Sort::Memory,
        SortField::DiskGib => Sort::Disk,
        SortField::LastActivityAt => Sort::LastActivityAt,
        SortField::CreatedAt => Sort::CreatedAt,
    };
    let cursor = query.cursor.clone().filter(|cursor| !cursor.is_empty());
    Ok(PageRequest { sort, descending: query.order != Some(Order::Asc), limit, cursor })
}

/// Reads a JSON object; empty is none, and so is what some SDKs write for none.
pub(super) fn label_filter(text: Option<String>) -> Result<BTreeMap<String, String>, ApiError> {
    let labels = text
        .filter(|labels| !matches!(labels.as_str(), "" | "null"))
        .map(|labels| serde_json::from_str(&labels))
        .transpose();
    let labels = labels.map_err(|_| ApiError::bad_request("labels is not a JSON object of texts"))?;
    Ok(labels.unwrap_or_default())
}

fn filter(query: ListSandboxesQuery) -> Result<Filter, ApiError> {
    Ok(Filter {
        id: query.id.filter(|id| !id.is_empty()),
        name: query.name.filter(|name| !name.is_empty()),
        labels: label_filter(query.labels)?,
        states: query.states,
        snapshots: query.snapshots,
        targets: query.region_ids,
        cpu: Range { min: query.min_cpu, max: query.max_cpu },
        memory: Range { min: query.min_memory, max: query.max_memory },
        disk: Range { min: query.min_disk, max: query.max_disk },
        public: query.is_public,
        recoverable: query.is_recoverable,
        created_at: Range { min: query.created_at_after, max: query.created_at_before },
        last_activity_at: Range { min: query.last_event_after, max: query.last_event_before },
        auto_destroy_at: Range { min: query.auto_destroy_at_after, max: query.auto_destroy_at_before },
        // All are containers without a GPU.
        nothing: query.min_gpu.is_some_and(|gpus| gpus > 0)
            || (!query.sandbox_classes.is_empty() && !query.sandbox_classes.iter().any(|class| class == "container")),
        failed_deletions: query.include_errored_deleted.unwrap_or(false),
    })
}
