//! Every route of the API.

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router, middleware};
use sebring_auth::Authenticator;
use sebring_events::Events;
use sebring_lifecycle::Lifecycle;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::server::Server;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::audience::Audience;
use crate::routes::{
    api_keys, configuration, intervals, paginated_sandboxes, runners, sandboxes, signing_key, snapshots, toolbox,
};
use crate::{Config, error, socket, trace, unread};

fn all() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(configuration::health))
        .routes(routes!(configuration::ready))
        .routes(routes!(configuration::config))
        .routes(routes!(sandboxes::create, sandboxes::list))
        .routes(routes!(paginated_sandboxes::list))
        .routes(routes!(sandboxes::get, sandboxes::delete))
        .routes(routes!(sandboxes::start))
        .routes(routes!(sandboxes::stop))
        .routes(routes!(sandboxes::replace_labels))
        .routes(routes!(sandboxes::set_public))
        .routes(routes!(sandboxes::last_activity))
        .routes(routes!(sandboxes::update_network))
        .routes(routes!(sandboxes::network_log))
        .routes(routes!(sandboxes::resize))
        .routes(routes!(intervals::auto_stop))
        .routes(routes!(intervals::auto_pause))
        .routes(routes!(intervals::auto_archive))
        .routes(routes!(intervals::auto_delete))
        .routes(routes!(intervals::ttl))
        .routes(routes!(toolbox::proxy_url))
        .routes(routes!(signing_key::get))
        .routes(routes!(signing_key::rotate))
        .routes(routes!(snapshots::list))
        .routes(routes!(snapshots::get))
        .routes(routes!(runners::list))
        .routes(routes!(runners::get))
        .routes(routes!(api_keys::current))
}

/// The routes under `/api`: REST, `/api/openapi.json`, and Socket.IO at `/api/socket.io`.
pub fn router(config: Config, lifecycle: Lifecycle, authenticator: Authenticator, events: Events) -> Router {
    let app = App { lifecycle, authenticator, audience: Audience::new(), config: Arc::new(config) };
    let (routes, mut document) = all().split_for_parts();
    describe(&mut document, &app.config.version);
    let readers = unread::readers(&document);
    let api = routes
        .route_layer(middleware::from_fn_with_state(readers, unread::refuse))
        .route("/snapshots/{first}/{*rest}", get(snapshots::get_with_slash))
        .route("/openapi.json", get(|| async move { Json(document) }))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .with_state(app.clone());
    let router = Router::new()
        .nest("/api", api)
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(middleware::from_fn(error::envelope));
    trace::traced(router).layer(socket::layer(app, events))
}

/// The OpenAPI document of the routes.
pub fn openapi(version: &str) -> OpenApi {
    let mut document = all().to_openapi();
    describe(&mut document, version);
    document
}

fn describe(document: &mut OpenApi, version: &str) {
    "Sebring".clone_into(&mut document.info.title);
    document.info.description = Some("Isolated sandboxes for AI agents.".to_owned());
    version.clone_into(&mut document.info.version);
    document.servers = Some(vec![Server::new("/api")]);
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    document.components.get_or_insert_default().security_schemes.insert("bearer".to_owned(), bearer.into());
    document.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
}
