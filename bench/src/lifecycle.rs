//! Stop, start and delete of one sandbox after the other.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hyper::Method;
use serde_json::{Value, json};

use crate::connection::{Connection, Target};
use crate::figures::Figures;
use crate::sandbox;

pub async fn stop_start_delete(target: &Target, turns: usize) -> Result<Value> {
    let mut connection = target.connect().await?;
    let (mut stops, mut starts, mut deletes) = (Figures::default(), Figures::default(), Figures::default());
    for _ in 0..turns {
        let (id, _) = sandbox::make(&mut connection).await?;
        stops.add(stop(&mut connection, &id).await?);
        let (answer, spent) = connection.timed_api(Method::POST, &format!("/sandbox/{id}/start"), "").await?;
        ensure!(answer["state"] == "started", "the start answered {}", answer["state"]);
        starts.add(spent);
        deletes.add(sandbox::remove(&mut connection, &id).await?);
    }
    Ok(json!({ "stop": stops.summary(), "start": starts.summary(), "delete": deletes.summary() }))
}

/// Until the API shows it as stopped, asking again at once if the first answer came earlier.
async fn stop(connection: &mut Connection, id: &str) -> Result<Duration> {
    let began = Instant::now();
    let mut answer = connection.api(Method::POST, &format!("/sandbox/{id}/stop"), "").await?;
    while answer["state"] != "stopped" {
        ensure!(answer["state"] != "error", "the stop failed: {}", answer["errorReason"]);
        answer = connection.api(Method::GET, &format!("/sandbox/{id}"), "").await?;
    }
    Ok(began.elapsed())
}
