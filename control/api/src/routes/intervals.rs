//! When a sandbox stops, ends or is archived on its own. All intervals are minutes.

use axum::Json;
use axum::extract::{Path, State};
use sebring_auth::Permission;
use sebring_store::sandboxes::Setting;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Caller;
use crate::minutes::Minutes;
use crate::wire::Sandbox;

type Answer = Result<Json<Sandbox>, ApiError>;

async fn set(app: &App, caller: &Caller, sandbox: &str, setting: Setting) -> Answer {
    let organization = caller.may(Permission::WriteSandboxes)?;
    let sandbox = app.lifecycle.set(organization, sandbox, setting).await?;
    Ok(Json(Sandbox::new(sandbox, &caller.url)))
}

/// Stops it after so long without activity; 0 is off.
#[utoipa::path(
    post, path = "/sandbox/{sandboxIdOrName}/autostop/{interval}", tag = "sandbox",
    operation_id = "setAutostopInterval",
    params(("sandboxIdOrName" = String, Path), ("interval" = f64, Path)), responses((status = 200, body = Sandbox)),
)]
pub(crate) async fn auto_stop(State(app): State<App>, caller: Caller, Path(target): Path<(String, String)>) -> Answer {
    set(&app, &caller, &target.0, Setting::AutoStop(Minutes::parse(&target.1)?.unsigned()?)).await
}

/// Only 0, off: sandboxes of this class can't be paused.
#[utoipa::path(
    post, path = "/sandbox/{sandboxIdOrName}/autopause/{interval}", tag = "sandbox",
    operation_id = "setAutoPauseInterval",
    params(("sandboxIdOrName" = String, Path), ("interval" = f64, Path)), responses((status = 200, body = Sandbox)),
)]
pub(crate) async fn auto_pause(State(app): State<App>, caller: Caller, Path(target): Path<(String, String)>) -> Answer {
    let organization = caller.may(Permission::WriteSandboxes)?;
    if Minutes::parse(&target.1)?.unsigned()? != 0 {
        return Err(ApiError::unavailable("pausing sandboxes of this class"));
    }
    let sandbox = app.lifecycle.get(organization, &target.0).await?;
    Ok(Json(Sandbox::new(sandbox, &caller.url)))
}

/// Archives it when it was stopped for so long; 0 is the longest.
#[utoipa::path(
    post, path = "/sandbox/{sandboxIdOrName}/autoarchive/{interval}", tag = "sandbox",
    operation_id = "setAutoArchiveInterval",
    params(("sandboxIdOrName" = String, Path), ("interval" = f64, Path)), responses((status = 200, body = Sandbox)),
)]
pub(crate) async fn auto_archive(
    State(app): State<App>,
    caller: Caller,
    Path(target): Path<(String, String)>,
) -> Answer {
    set(&app, &caller, &target.0, Setting::AutoArchive(Minutes::parse(&target.1)?.unsigned()?)).await
}

/// Deletes it when it was stopped for so long; negative is off, 0 is at once.
#[utoipa::path(
    post, path = "/sandbox/{sandboxIdOrName}/autodelete/{interval}", tag = "sandbox",
    operation_id = "setAutoDeleteInterval",
    params(("sandboxIdOrName" = String, Path), ("interval" = f64, Path)), responses((status = 200, body = Sandbox)),
)]
pub(crate) async fn auto_delete(
    State(app): State<App>,
    caller: Caller,
    Path(target): Path<(String, String)>,
) -> Answer {
    set(&app, &caller, &target.0, Setting::AutoDelete(Minutes::parse(&target.1)?.signed())).await
}

/// Deletes it so long from now, whatever it does then; 0 is off.
#[utoipa::path(
    post, path = "/sandbox/{sandboxIdOrName}/ttl/{ttlMinutes}", tag = "sandbox", operation_id = "setTtl",
    params(("sandboxIdOrName" = String, Path), ("ttlMinutes" = f64, Path)), responses((status = 200, body = Sandbox)),
)]
pub(crate) async fn ttl(State(app): State<App>, caller: Caller, Path(target): Path<(String, String)>) -> Answer {
    let organization = caller.may(Permission::DeleteSandboxes)?;
    let sandbox = app.lifecycle.set_ttl(organization, &target.0, Minutes::parse(&target.1)?.unsigned()?).await?;
    Ok(Json(Sandbox::new(sandbox, &caller.url)))
}
