//! `POST /files/upload-v2` and its older name `/files/upload`: one file, as a raw body or the field `file` of a form.

use std::path::Path;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use tokio::sync::mpsc;

use super::destination::Destination;
use super::multipart::{self, Multipart, MultipartError, Source};
use crate::agent::Agent;
use crate::http::error::Failure;
use crate::http::request::{Piece, Request};
use crate::http::response::{self, Response};

const FIELD: &str = "file";

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct UploadedFile {
    name: String,
    path: String,
    r#type: &'static str,
}

pub async fn upload(agent: &Agent, request: Request) -> Result<Response, Failure> {
    let path = agent.resolve(request.query.required("path")?);
    let boundary = request.header(CONTENT_TYPE).and_then(multipart::boundary).transpose()?;
    let answer = UploadedFile {
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        path: path.to_string_lossy().into_owned(),
        r#type: "file",
    };
    let written = request.stream(move |pieces| match boundary {
        Some(boundary) => write_field(&path, Multipart::new(&boundary, source(pieces))),
        None => write_raw(&path, pieces),
    });
    written.await??;
    response::json(&answer)
}

/// The pieces of a body as a multi-part reader wants them: a body cut off lacks its last boundary.
pub fn source(mut pieces: mpsc::Receiver<Piece>) -> impl Source {
    move || match pieces.blocking_recv() {
        Some(Piece::Data(bytes)) => Some(bytes),
        Some(Piece::End) | None => None,
    }
}

fn write_raw(path: &Path, mut pieces: mpsc::Receiver<Piece>) -> Result<(), Failure> {
    let mut destination = Destination::open(path)?;
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Data(bytes)) => destination.write(&bytes)?,
            Some(Piece::End) => break,
            None => return Err(MultipartError::Truncated.into()),
        }
    }
    destination.finish()?;
    Ok(())
}

fn write_field(path: &Path, mut form: Multipart<impl Source>) -> Result<(), Failure> {
    while let Some(part) = form.next_part()? {
        if part.name == FIELD {
            let destination = receive(path, &mut form)?;
            // The rest must be well formed, too: a body cut off is no complete upload.
            while form.next_part()?.is_some() {}
            destination.finish()?;
            return Ok(());
        }
    }
    Err(Failure::bad_request(format!("the form has no field {FIELD:?}")))
}

/// Writes the present part's content. The bytes written.
pub fn write_content(path: &Path, form: &mut Multipart<impl Source>) -> Result<u64, Failure> {
    receive(path, form)?.finish()
}

fn receive(path: &Path, form: &mut Multipart<impl Source>) -> Result<Destination, Failure> {
    let mut destination = Destination::open(path)?;
    while let Some(content) = form.content()? {
        destination.write(&content)?;
    }
    Ok(destination)
}

/// A short text field, such as a path.
pub fn read_text(form: &mut Multipart<impl Source>, longest: usize) -> Result<String, Failure> {
    let mut text: Vec<u8> = Vec::new();
    while let Some(content) = form.content()? {
        let content: Bytes = content;
        if text.len() + content.len() > longest {
            return Err(Failure::bad_request(format!("a path is longer than {longest} bytes")));
        }
        text.extend_from_slice(&content);
    }
    String::from_utf8(text).map_err(|_| Failure::bad_request("a path is not UTF-8"))
}

impl From<MultipartError> for Failure {
    fn from(error: MultipartError) -> Self {
        Self::bad_request(error.to_string())
    }
}
