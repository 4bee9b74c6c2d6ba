//! What everyone may know.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;

use crate::app::App;
use crate::error::ApiError;
use crate::public_url::PublicUrl;
use crate::wire::{Configuration, Health, Oidc};

/// Minutes; what an auto-archive interval of 0 stands for.
const MAX_AUTO_ARCHIVE: u32 = 30 * 24 * 60;

/// Whether the server answers.
#[utoipa::path(get, path = "/health", tag = "health", security(()), responses((status = 200, body = Health)))]
pub(crate) async fn health(State(app): State<App>) -> Json<Health> {
    Json(Health { status: "ok", version: app.config.version.clone() })
}

/// Whether the server can do its work: its database answers.
#[utoipa::path(get, path = "/health/ready", tag = "health", security(()), responses((status = 200, body = Health)))]
pub(crate) async fn ready(State(app): State<App>) -> Result<Json<Health>, ApiError> {
    app.lifecycle.ready().await?;
    Ok(health(State(app)).await)
}

/// How the server is set up.
#[utoipa::path(get, path = "/config", tag = "config", security(()), responses((status = 200, body = Configuration)))]
pub(crate) async fn config(State(app): State<App>, headers: HeaderMap) -> Json<Configuration> {
    let url = PublicUrl::of(&app.config, &headers);
    Json(Configuration {
        version: app.config.version.clone(),
        oidc: Oidc::default(),
        linked_accounts_enabled: false,
        announcements: BTreeMap::new(),
        proxy_template_url: format!("{}/api/preview/{{{{sandboxId}}}}/{{{{PORT}}}}", url.root()),
        proxy_toolbox_url: url.toolbox(),
        default_snapshot: app.lifecycle.default_snapshot().to_owned(),
        dashboard_url: url.root().to_owned(),
        max_auto_archive_interval: MAX_AUTO_ARCHIVE,
        maintenance_mode: false,
        environment: "production".to_owned(),
    })
}
