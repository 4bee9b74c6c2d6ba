//! Runners: the one that is part of this server.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use sebring_auth::Permission;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Caller, Parameters};
use crate::wire::{LOCAL, ListRunnersQuery, Runner};

/// All runners.
#[utoipa::path(
    get, path = "/runners", tag = "runners", operation_id = "listRunners",
    params(ListRunnersQuery), responses((status = 200, body = Vec<Runner>)),
)]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Parameters(query): Parameters<ListRunnersQuery>,
) -> Result<Json<Vec<Runner>>, ApiError> {
    caller.may(Permission::ReadRunners)?;
    let runner = local(&app).await?;
    let wanted = query.region_id.is_none_or(|region| region == runner.region);
    Ok(Json(if wanted { vec![runner] } else { Vec::new() }))
}

/// One runner.
#[utoipa::path(
    get, path = "/runners/{id}", tag = "runners", operation_id = "getRunnerById",
    params(("id" = String, Path)), responses((status = 200, body = Runner)),
)]
pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Runner>, ApiError> {
    caller.may(Permission::ReadRunners)?;
    if id != LOCAL {
        return Err(ApiError::new(StatusCode::NOT_FOUND, format!("there is no runner {id}: see GET /runners")));
    }
    Ok(Json(local(&app).await?))
}

async fn local(app: &App) -> Result<Runner, ApiError> {
    let (info, promised) = app.lifecycle.runner().await?;
    Ok(Runner::new(info, promised, app.lifecycle.default_target(), &app.config.version))
}
