//! API keys.

use axum::Json;
use axum::extract::State;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Caller;
use crate::wire::ApiKey;

/// The key that the request came with: whether it is valid, and what it may do.
#[utoipa::path(
    get, path = "/api-keys/current", tag = "api-keys", operation_id = "getCurrentApiKey",
    responses((status = 200, body = ApiKey)),
)]
pub(crate) async fn current(State(app): State<App>, caller: Caller) -> Result<Json<ApiKey>, ApiError> {
    Ok(Json(app.authenticator.describe(&caller.principal).await?.into()))
}
