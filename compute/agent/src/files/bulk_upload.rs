//! `POST /files/bulk-upload`: many files in one form.
//!
//! The form has `files[N].path` and `files[N].file` for each file; clients send all paths first or each before its
//! file, and give parts odd file names, which do not matter. One file's failure does not keep the others from being
//! written; the answer then lists both.

use std::collections::HashMap;
use std::sync::Arc;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use super::multipart::{self, Multipart, MultipartError, Source};
use super::upload::{read_text, source, write_content};
use crate::agent::Agent;
use crate::http::error::Failure;
use crate::http::request::Request;
use crate::http::response::{self, Response};

/// `PATH_MAX`.
const LONGEST_PATH: usize = 4096;

#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = UploadFilesResponse))]
pub struct Outcome {
    files: Vec<Uploaded>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = FsFileResult))]
struct Uploaded {
    path: String,
    bytes: u64,
}

/// What a part of the form is.
#[derive(Debug, PartialEq, Eq)]
enum Field {
    Path(u32),
    File(u32),
    Other,
}

pub async fn upload(agent: Arc<Agent>, request: Request) -> Result<Response, Failure> {
    let boundary =
        request.header(CONTENT_TYPE).and_then(multipart::boundary).unwrap_or(Err(MultipartError::NoBoundary))?;
    let outcome = request.stream(move |pieces| write_all(&agent, Multipart::new(&boundary, source(pieces))));
    let outcome = outcome.await?;
    let status = if outcome.errors.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    response::json_with(status, &outcome)
}

fn write_all(agent: &Agent, mut form: Multipart<impl Source>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut paths = HashMap::new();
    loop {
        match form.next_part() {
            Ok(None) => break,
            Ok(Some(part)) => write_part(agent, &mut form, &part.name, &mut paths, &mut outcome),
            Err(error) => {
                outcome.errors.push(error.to_string());
                break;
            }
        }
    }
    // What has no content was not uploaded.
    outcome.errors.extend(paths.into_values().map(|path: String| format!("{path}: its content is missing")));
    if outcome.files.is_empty() && outcome.errors.is_empty() {
        outcome.errors.push("the form has no files".to_owned());
    }
    outcome
}

fn write_part(
    agent: &Agent,
    form: &mut Multipart<impl Source>,
    name: &str,
    paths: &mut HashMap<u32, String>,
    outcome: &mut Outcome,
) {
    match field(name) {
        Field::Path(index) => match read_text(form, LONGEST_PATH) {
            Ok(path) if !path.is_empty() => drop(paths.insert(index, path)),
            Ok(_) => outcome.errors.push(format!("{name}: is empty")),
            Err(failure) => outcome.errors.push(format!("{name}: {failure}")),
        },
        Field::File(index) => match paths.remove(&index) {
            Some(path) => match write_content(&agent.resolve(&path), form) {
                Ok(bytes) => outcome.files.push(Uploaded { path, bytes }),
                Err(failure) => outcome.errors.push(format!("{path}: {failure}")),
            },
            None => outcome.errors.push(format!("{name}: comes without files[{index}].path before it")),
        },
        Field::Other => {}
    }
}

fn field(name: &str) -> Field {
    let indexed = name.strip_prefix("files[").and_then(|rest| {
        let (index, kind) = rest.split_once("].")?;
        Some((index.parse().ok()?, kind))
    });
    match indexed {
        Some((index, "path")) => Field::Path(index),
        Some((index, "file")) => Field::File(index),
        _ => Field::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        assert_eq!(field("files[0].path"), Field::Path(0));
        assert_eq!(field("files[12].file"), Field::File(12));
        for other in ["files[x].file", "files[0].", "files[-1].file", "file", ""] {
            assert_eq!(field(other), Field::Other, "{other}");
        }
    }
}
