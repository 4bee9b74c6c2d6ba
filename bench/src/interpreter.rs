//! The code interpreter: the first execution in a fresh sandbox, and those that find it running.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::connection::Target;
use crate::figures::Figures;
use crate::sandbox;
use crate::websocket::WebSocket;

const WARM_UP: usize = 5;

pub async fn executions(target: &Target, turns: usize) -> Result<Value> {
    let mut connection = target.connect().await?;
    let mut first = Figures::default();
    for turn in 0..WARM_UP + turns / 4 {
        let (id, _) = sandbox::make(&mut connection).await?;
        let spent = execute(target, &id).await?;
        if turn >= WARM_UP {
            first.add(spent);
        }
        sandbox::remove(&mut connection, &id).await?;
    }
    let (id, _) = sandbox::make(&mut connection).await?;
    let mut next = Figures::default();
    for turn in 0..WARM_UP + turns {
        let spent = execute(target, &id).await?;
        if turn >= WARM_UP {
            next.add(spent);
        }
    }
    sandbox::remove(&mut connection, &id).await?;
    Ok(json!({ "first": first.summary(), "next": next.summary() }))
}

/// As the SDKs do it: a new connection, one request, and everything until the server closes.
async fn execute(target: &Target, id: &str) -> Result<Duration> {
    let began = Instant::now();
    let mut socket = WebSocket::open(target, id, "/process/interpreter/execute").await?;
    socket.send(Message::text(json!({ "code": "1+1" }).to_string())).await?;
    let mut frames = Vec::new();
    while let Some(frame) = socket.receive().await? {
        frames.push(serde_json::from_slice::<Value>(&frame)?);
    }
    let spent = began.elapsed();
    let last = frames.last().context("the interpreter answered nothing")?;
    ensure!(last["text"] == "completed", "the interpreter answered {frames:?}");
    ensure!(frames.iter().any(|frame| frame["text"].as_str().is_some_and(|text| text.trim() == "2")), "{frames:?}");
    Ok(spent)
}
