//! A query string, with repeated keys.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use sebring_types::nearest::explain;
use serde::de::DeserializeOwned;

use super::OTHERWISE;
use crate::app::App;
use crate::error::ApiError;

/// Reads the query and names the parameter that is wrong.
pub(crate) struct Parameters<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        parse(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let reader = serde_html_form::Deserializer::from_bytes(query.as_bytes());
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let parameter = error.path().to_string();
        ApiError::bad_request(format!(
            "the query is wrong at {parameter}: {}",
            explain(&error.into_inner().to_string(), OTHERWISE)
        ))
    })
}
