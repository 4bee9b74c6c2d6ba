//! The list of sandboxes by page numbers, which came before that by cursors.

use axum::Json;
use axum::extract::State;
use sebring_store::sandboxes::{Filter, Range, Sort, Window};

use super::sandboxes::label_filter;
use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Caller, Parameters};
use crate::wire::{Order, PaginatedSandboxes, PaginatedSandboxesQuery, PaginatedSort, Sandbox};

/// A numbered page of sandboxes. Deprecated: one that comes or goes between two pages shifts the rest.
#[utoipa::path(
    get, path = "/sandbox/paginated", tag = "sandbox", operation_id = "listSandboxesPaginated_deprecated",
    params(PaginatedSandboxesQuery), responses((status = 200, body = PaginatedSandboxes)),
)]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Parameters(query): Parameters<PaginatedSandboxesQuery>,
) -> Result<Json<PaginatedSandboxes>, ApiError> {
    let (page, limit) = (query.page.unwrap_or(1), query.limit.unwrap_or(100));
    let offset = page.checked_sub(1).and_then(|before| before.checked_mul(limit));
    let (Some(offset), 1..=200) = (offset, limit) else {
        return Err(ApiError::bad_request("page or limit is not valid: give a page from 1, a limit of 1 to 200"));
    };
    let window = Window { sort: sort(&query), descending: query.order != Some(Order::Asc), limit, offset };
    let (items, total) = app.lifecycle.window(caller.organization(), &filter(query)?, &window).await?;
    let items = items.into_iter().map(|sandbox| Sandbox::new(sandbox, &caller.url)).collect();
    Ok(Json(PaginatedSandboxes { items, total, page, total_pages: total.div_ceil(limit.into()) }))
}

fn sort(query: &PaginatedSandboxesQuery) -> Sort {
    match query.sort.unwrap_or(PaginatedSort::CreatedAt) {
        PaginatedSort::Id => Sort::Id,
        PaginatedSort::Name => Sort::Name,
        PaginatedSort::State => Sort::State,
        PaginatedSort::Snapshot => Sort::Snapshot,
        PaginatedSort::Region => Sort::Target,
        PaginatedSort::UpdatedAt => Sort::UpdatedAt,
        PaginatedSort::CreatedAt => Sort::CreatedAt,
        PaginatedSort::LastActivityAt => Sort::LastActivityAt,
    }
}

fn filter(query: PaginatedSandboxesQuery) -> Result<Filter, ApiError> {
    Ok(Filter {
        id: query.id.filter(|id| !id.is_empty()),
        name: query.name.filter(|name| !name.is_empty()),
        labels: label_filter(query.labels)?,
        states: query.states,
        snapshots: query.snapshots,
        targets: query.regions,
        cpu: Range { min: query.min_cpu, max: query.max_cpu },
        memory: Range { min: query.min_memory, max: query.max_memory },
        disk: Range { min: query.min_disk, max: query.max_disk },
        last_activity_at: Range { min: query.last_event_after, max: query.last_event_before },
        failed_deletions: query.include_errored_deleted.unwrap_or(false),
        ..Filter::default()
    })
}
