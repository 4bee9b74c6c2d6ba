//! Snapshots.

use std::cmp::Ordering;

use axum::Json;
use axum::extract::{OriginalUri, Path, State};
use axum::http::Method;
use sebring_store::Snapshot;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Caller, Parameters};
use crate::wire::{ListSnapshotsQuery, Order, PaginatedSnapshots, SnapshotDto, SnapshotSort};
use crate::{unavailable, validate};

/// A page of snapshots.
#[utoipa::path(
    get, path = "/snapshots", tag = "snapshots", operation_id = "getAllSnapshots",
    params(ListSnapshotsQuery), responses((status = 200, body = PaginatedSnapshots)),
)]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Parameters(query): Parameters<ListSnapshotsQuery>,
) -> Result<Json<PaginatedSnapshots>, ApiError> {
    let (page, limit) = (query.page.unwrap_or(1) as usize, query.limit.unwrap_or(100) as usize);
    if page < 1 || !(1..=200).contains(&limit) {
        return Err(ApiError::bad_request("page or limit is not valid: give a page from 1, a limit of 1 to 200"));
    }
    let mut all = app.lifecycle.snapshots(caller.organization()).await?;
    // None was made from a sandbox yet.
    all.retain(|snapshot| query.source_sandbox_id.is_none() && matches(snapshot, query.name.as_deref()));
    sort(&mut all, query.sort.unwrap_or(SnapshotSort::LastUsedAt), query.order.unwrap_or(Order::Desc));
    let (total, total_pages) = (all.len(), all.len().div_ceil(limit));
    let items = all.into_iter().skip((page - 1).saturating_mul(limit)).take(limit).map(SnapshotDto::from).collect();
    Ok(Json(PaginatedSnapshots { items, total, page, total_pages }))
}

/// One snapshot, by id or name, or by a name of Daytona's for the default one in some size.
#[utoipa::path(
    get, path = "/snapshots/{id}", tag = "snapshots", operation_id = "getSnapshot",
    params(("id" = String, Path)), responses((status = 200, body = SnapshotDto)),
)]
pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(snapshot): Path<String>,
) -> Result<Json<SnapshotDto>, ApiError> {
    let Some(class) = validate::size_class(&snapshot, app.config.limits) else {
        return Ok(Json(app.lifecycle.snapshot(caller.organization(), &snapshot).await?.into()));
    };
    let mut found = app.lifecycle.snapshot(caller.organization(), app.lifecycle.default_snapshot()).await?;
    found.resources = class;
    Ok(Json(SnapshotDto { name: snapshot, ..found.into() }))
}

/// One snapshot whose name has a slash that nobody escaped.
pub(crate) async fn get_with_slash(
    State(app): State<App>,
    caller: Caller,
    Path((first, rest)): Path<(String, String)>,
    method: Method,
    uri: OriginalUri,
) -> Result<Json<SnapshotDto>, ApiError> {
    if let Some(feature) = unavailable::feature(&method, uri.path()) {
        return Err(ApiError::not_implemented(feature));
    }
    Ok(Json(app.lifecycle.snapshot(caller.organization(), &format!("{first}/{rest}")).await?.into()))
}

fn matches(snapshot: &Snapshot, part: Option<&str>) -> bool {
    part.is_none_or(|part| snapshot.name.to_lowercase().contains(&part.to_lowercase()))
}

fn sort(snapshots: &mut [Snapshot], by: SnapshotSort, order: Order) {
    let ascending = |a: &Snapshot, b: &Snapshot| match by {
        SnapshotSort::Name => a.name.cmp(&b.name),
        // All are active.
        SnapshotSort::State => Ordering::Equal,
        SnapshotSort::LastUsedAt => a.last_used_at.cmp(&b.last_used_at),
        SnapshotSort::CreatedAt => a.created_at.cmp(&b.created_at),
    };
    snapshots.sort_by(|a, b| if order == Order::Asc { ascending(a, b) } else { ascending(b, a) });
}
