//! Where the toolbox is.

use axum::Json;
use axum::extract::{Path, State};

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Caller;
use crate::wire::ToolboxProxyUrl;

/// The start of the toolbox's URL; a slash and the id follow.
#[utoipa::path(
    get, path = "/sandbox/{sandboxId}/toolbox-proxy-url", tag = "sandbox", operation_id = "getToolboxProxyUrl",
    params(("sandboxId" = String, Path)), responses((status = 200, body = ToolboxProxyUrl)),
)]
pub(crate) async fn proxy_url(
    State(app): State<App>,
    caller: Caller,
    Path(sandbox): Path<String>,
) -> Result<Json<ToolboxProxyUrl>, ApiError> {
    app.lifecycle.get(caller.organization(), &sandbox).await?;
    Ok(Json(ToolboxProxyUrl { url: caller.url.toolbox() }))
}
