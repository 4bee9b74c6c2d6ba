//! A JSON body.

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use sebring_types::nearest::explain;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::OTHERWISE;
use crate::app::App;
use crate::error::ApiError;

/// No request of the API needs more, bytes.
const LONGEST: usize = 4 << 20;

/// Reads the body as JSON, whatever its content type says, and names the field that is wrong.
pub(crate) struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &App) -> Result<Self, ApiError> {
        let too_long = |_| ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is cut off or longer than 4 MiB");
        let bytes = axum::body::to_bytes(request.into_body(), LONGEST).await.map_err(too_long)?;
        parse(&bytes).map(Self)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let reader = &mut serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut *reader).map_err(|error| {
        let field = error.path().to_string();
        let cause = error.inner();
        let why = explain(&cause.to_string(), OTHERWISE);
        ApiError::bad_request(match cause.classify() {
            Category::Data if field != "." => format!("the body is wrong at {field}: {why}"),
            Category::Data => format!("the body is wrong: {why}"),
            _ => format!("the body is not JSON: {cause}"),
        })
    })?;
    reader.end().map_err(|error| ApiError::bad_request(format!("the body is not JSON: {error}")))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Nested = BTreeMap<String, BTreeMap<String, String>>;

    fn message(body: &str) -> String {
        parse::<Nested>(body.as_bytes()).expect_err("wrong").message
    }

    #[test]
    fn names_the_field() {
        insta::assert_snapshot!(message(r#"{"labels":{"a":1}}"#), @"the body is wrong at labels.a: invalid type: integer `1`, expected a string at line 1 column 16");
        insta::assert_snapshot!(message("[]"), @"the body is wrong: invalid type: sequence, expected a map at line 1 column 0");
        insta::assert_snapshot!(message("{"), @"the body is not JSON: EOF while parsing an object at line 1 column 1");
        insta::assert_snapshot!(message("{} x"), @"the body is not JSON: trailing characters at line 1 column 4");
        insta::assert_snapshot!(message(""), @"the body is not JSON: EOF while parsing a value at line 1 column 0");
    }
}
