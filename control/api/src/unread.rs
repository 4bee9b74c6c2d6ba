//! Queries that no handler reads.
//!
//! Routes that know parameters refuse others themselves ([`crate::extract::Parameters`]); the rest know none, and would pass over
//! what a client asks for. Which is which stands in the OpenAPI document.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::OpenApi;

use crate::error::ApiError;

/// The operations whose handlers read a query: method, and path below `/api`.
pub(crate) type Readers = Arc<HashSet<(String, String)>>;

pub(crate) fn readers(document: &OpenApi) -> Readers {
    let document = serde_json::to_value(document).unwrap_or_default();
    let mut readers = HashSet::new();
    for (path, operations) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let mut parameters = operation["parameters"].as_array().into_iter().flatten();
            if parameters.any(|parameter| parameter["in"] == "query") {
                readers.insert((method.to_uppercase(), path.clone()));
            }
        }
    }
    Arc::new(readers)
}

/// Refuses a query where nobody reads it.
pub(crate) async fn refuse(State(readers): State<Readers>, request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let Some(name) = query.split(['=', '&']).find(|name| !name.is_empty()) else { return next.run(request).await };
    // Whoever sees HEAD sees GET.
    let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let path = path.strip_prefix("/api").unwrap_or(path);
    if readers.contains(&(method.to_string(), path.to_owned())) {
        return next.run(request).await;
    }
    ApiError::bad_request(format!("the query is wrong at {name}: unknown field {name:?}: this operation takes none"))
        .into_response()
}
