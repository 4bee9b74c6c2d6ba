//! A log line per request, with an id of our own that also stands in the answer. No header value and no body is logged, and
//! no more of method and path than a line has room for.

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
            let (method, path) = (start(request.method().as_str(), 16), start(request.uri().path(), 256));
            info_span!("request", id, method, path)
        })
        .on_request(())
        .on_failure(())
        .on_response(|response: &Response<_>, latency: std::time::Duration, _: &Span| {
            let (status, micros) = (response.status().as_u16(), latency.as_micros());
            tracing::info!(status, micros, "request answered");
        });
    let layers = ServiceBuilder::new()
        // Clients don't choose what stands in the log.
        .map_request(|mut request: Request| {
            request.headers_mut().remove(REQUEST_ID);
            request
        })
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .layer(trace)
        .layer(PropagateRequestIdLayer::new(REQUEST_ID));
    router.layer(layers)
}

/// The first bytes of a text of which all are ASCII.
fn start(text: &str, bytes: usize) -> &str {
    text.get(..bytes).unwrap_or(text)
}
