//! Many clients at once: sustained creates and deletes, and a burst.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::connection::Target;
use crate::figures::{Figures, round};
use crate::sandbox;

pub async fn many_clients(target: &Target) -> Result<Value> {
    Ok(json!({
        "clients_8": sustained(target, 8, Duration::from_secs(10)).await?,
        "clients_32": sustained(target, 32, Duration::from_secs(10)).await?,
        "burst_100": burst(target, 100).await?,
    }))
}

/// Each client creates and deletes until the time is over.
async fn sustained(target: &Target, clients: usize, time: Duration) -> Result<Value> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let target = target.clone();
        tasks.spawn(async move {
            let mut connection = target.connect().await?;
            let (mut figures, mut made) = (Figures::default(), 0_u32);
            while began.elapsed() < time {
                let (id, spent) = sandbox::make(&mut connection).await?;
                figures.add(spent);
                made += 1;
                sandbox::remove(&mut connection, &id).await?;
            }
            anyhow::Ok((figures, made))
        });
    }
    let (mut figures, mut made) = (Figures::default(), 0);
    while let Some(task) = tasks.join_next().await {
        let (of_one, made_by_one) = task??;
        figures.extend(of_one);
        made += made_by_one;
    }
    let rate = round(f64::from(made) / began.elapsed().as_secs_f64());
    Ok(json!({ "create_and_delete_per_s": rate, "create": figures.summary() }))
}

/// All at once, then `echo` in each; the wall time of both together.
async fn burst(target: &Target, count: usize) -> Result<Value> {
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(target.connect().await?);
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for mut connection in connections {
        tasks.spawn(async move {
            let (id, _) = sandbox::make(&mut connection).await?;
            let body = json!({ "command": "echo ready" }).to_string();
            let answer = connection.toolbox(&id, Method::POST, "/process/execute", &body).await?;
            ensure!(answer["result"] == "ready\n", "the echo answered {answer}");
            Ok((connection, id))
        });
    }
    let made = tasks.join_all().await;
    let wall = began.elapsed();
    for done in made {
        let (mut connection, id) = done?;
        sandbox::remove(&mut connection, &id).await?;
    }
    Ok(json!({ "count": count, "wall_ms": round(wall.as_secs_f64() * 1e3) }))
}
