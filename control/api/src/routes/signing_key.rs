//! The key that clients sign file URLs with. Plain text, for the SDKs read it so.

use axum::extract::{Path, State};
use sebring_auth::Permission;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Caller;

/// The key.
#[utoipa::path(
    get, path = "/sandbox/{sandboxId}/signing-key", tag = "sandbox", operation_id = "getSigningKey",
    params(("sandboxId" = String, Path)), responses((status = 200, body = String, content_type = "text/plain")),
)]
pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(sandbox): Path<String>,
) -> Result<String, ApiError> {
    let organization = caller.may(Permission::WriteSandboxes)?;
    Ok(app.lifecycle.get(organization, &sandbox).await?.signing_key)
}

/// A new key; what was signed with the former is no longer valid.
#[utoipa::path(
    post, path = "/sandbox/{sandboxId}/signing-key/rotate", tag = "sandbox", operation_id = "rotateSigningKey",
    params(("sandboxId" = String, Path)), responses((status = 200, body = String, content_type = "text/plain")),
)]
pub(crate) async fn rotate(
    State(app): State<App>,
    caller: Caller,
    Path(sandbox): Path<String>,
) -> Result<String, ApiError> {
    let organization = caller.may(Permission::WriteSandboxes)?;
    Ok(app.lifecycle.rotate_signing_key(organization, &sandbox).await?.signing_key)
}
