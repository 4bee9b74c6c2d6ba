//! `GET /files`: a directory's entries, on request with those of its directories.

use std::fs;

use crate::agent::Agent;
use crate::files::info::FileInfo;
use crate::files::walk::Walk;
use crate::guest::accounts::Accounts;
use crate::http::error::Failure;
use crate::http::request::{Request, blocking};
use crate::http::response::{self, Response};

/// Symbolic links are listed as links. Deeper entries follow their directory.
pub async fn list(agent: &Agent, request: &Request) -> Result<Response, Failure> {
    let path = agent.resolve(request.query.get("path").unwrap_or(""));
    let depth = request.query.parsed::<usize>("depth")?.unwrap_or(1);
    if depth == 0 {
        return Err(Failure::bad_request("depth is 0: 1 lists the directory's own entries"));
    }
    let entries = blocking(move || {
        let walk = Walk::new(&path, depth).map_err(|error| Failure::file(&path, &error))?;
        let names = Accounts::read().names();
        let info = |path: std::path::PathBuf| {
            // None for what is gone since it was listed.
            let metadata = fs::symlink_metadata(&path).ok()?;
            Some(FileInfo::new(&path, &metadata, &names))
        };
        Ok(walk.filter_map(|entry| info(entry.path)).collect::<Vec<_>>())
    });
    response::json(&entries.await?)
}
