//! A log line per request, with an id that also stands in the answer. No header value and no body is logged.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, Response};
use tower::ServiceBuilder;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::trace::TraceLayer;
use tracing::{Span, info_span};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Puts the layers around `router`.
pub(crate) fn traced(router: Router) -> Router {
    let trace = TraceLayer::new_for_http()
        .make_span_with(|request: &Request| {
            let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
            info_span!("request", id, method = %request.method(), path = request.uri().path())
        })
        .on_request(())
        .on_failure(())
        .on_response(|response: &Response<_>, latency: std::time::Duration, _: &Span| {
            let (status, micros) = (response.status().as_u16(), latency.as_micros());
            tracing::info!(status, micros, "request answered");
        });
    let layers = ServiceBuilder::new()
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .layer(trace)
        .layer(PropagateRequestIdLayer::new(REQUEST_ID));
    router.layer(layers)
}
