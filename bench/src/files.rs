//! Many small files: a thousand in one upload, and looking for one among a hundred thousand.

use std::fmt::Write as _;
use std::iter;
use std::time::Instant;

use anyhow::{Result, ensure};
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use crate::connection::{Connection, Target};
use crate::figures::Figures;
use crate::sandbox;

const TURNS: usize = 10;
/// A hundred directories of a thousand files of 400 bytes; one file is the needle.
const TREE: &str = "
import os
for directory in range(100):
    os.makedirs(f'tree/{directory}')
    for number in range(1000):
        with open(f'tree/{directory}/{number}.txt', 'w') as file:
            file.write(f'line of file {number}\\n' * 20)
open('tree/77/needle.md', 'w').write('hay\\nneedle\\n')
";

pub async fn many(target: &Target) -> Result<Value> {
    let mut connection = target.connect().await?;
    let (id, _) = sandbox::make(&mut connection).await?;
    let bulk = bulk_upload(&mut connection, &id).await?;
    let body = json!({ "code": TREE, "language": "python" }).to_string();
    let made = connection.toolbox(&id, Method::POST, "/process/code-run", &body).await?;
    ensure!(made["exitCode"] == 0, "the tree was not made: {made}");
    let find = look(&mut connection, &id, "find", "needle", |answer| answer).await?;
    let search = look(&mut connection, &id, "search", "needle.*", |answer| &answer["files"]).await?;
    sandbox::remove(&mut connection, &id).await?;
    Ok(json!({ "bulk_1000": bulk.summary(), "find_100000": find.summary(), "search_100000": search.summary() }))
}

/// Each turn into a new directory.
async fn bulk_upload(connection: &mut Connection, id: &str) -> Result<Figures> {
    let mut figures = Figures::default();
    for turn in 0..TURNS {
        let mut body = String::new();
        for number in 0..1000 {
            let part = "--XX\r\nContent-Disposition: form-data; name=\"files";
            write!(body, "{part}[{number}].path\"\r\n\r\nsmall/{turn}/{number}.txt\r\n")?;
            write!(body, "{part}[{number}].file\"; filename=\"{number}.txt\"\r\n\r\nfile {number}\n\r\n")?;
        }
        body.push_str("--XX--\r\n");
        let body = Bytes::from(body);
        let began = Instant::now();
        let path = format!("/toolbox/{id}/files/bulk-upload");
        connection.stream_up(&path, "multipart/form-data; boundary=XX", iter::once(body)).await?;
        figures.add(began.elapsed());
        let last = format!("/files/info?path=small/{turn}/999.txt");
        let info = connection.toolbox(id, Method::GET, &last, "").await?;
        ensure!(info["size"] == 9, "the last file is not there: {info}");
    }
    Ok(figures)
}

/// The needle and nothing else must be found.
async fn look(
    connection: &mut Connection,
    id: &str,
    route: &str,
    pattern: &str,
    matches: impl Fn(&Value) -> &Value,
) -> Result<Figures> {
    let path = format!("/files/{route}?path=tree&pattern={pattern}");
    let mut figures = Figures::default();
    for _ in 0..TURNS {
        let began = Instant::now();
        let answer = connection.toolbox(id, Method::GET, &path, "").await?;
        figures.add(began.elapsed());
        ensure!(matches(&answer).as_array().is_some_and(|found| found.len() == 1), "{route} answered {answer}");
    }
    Ok(figures)
}
