//! From `POST /sandbox` to a sandbox whose agent answers, beside `crun run` and `podman run`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::beside::{Beside, Runtime};
use crate::connection::{Connection, Target};
use crate::figures::Figures;

/// How far apart creates are in the second measurement: idle machines and those in a loop are different worlds.
const APART: Duration = Duration::from_millis(50);
const WARM_UP: usize = 10;

/// Makes one started sandbox.
pub async fn make(connection: &mut Connection) -> Result<(String, Duration)> {
    let (answer, spent) = connection.timed_api(Method::POST, "/sandbox", "{}").await?;
    ensure!(answer["state"] == "started", "the create answered before the sandbox was started: {}", answer["state"]);
    Ok((answer["id"].as_str().context("a sandbox without an id")?.to_owned(), spent))
}

pub async fn remove(connection: &mut Connection, id: &str) -> Result<Duration> {
    Ok(connection.timed_api(Method::DELETE, &format!("/sandbox/{id}"), "").await?.1)
}

/// Creates one after the other, in a loop and spread out, each followed by one `crun run`; some by one `podman run`.
pub async fn create(target: &Target, rootfs: Option<&Path>, turns: usize) -> Result<Value> {
    let mut connection = target.connect().await?;
    let mut beside = rootfs.map(Beside::spawn).transpose()?;
    let mut crun = beside.as_mut().map(|beside| (beside, Runtime::Crun));
    turn_by_turn(&mut connection, &mut crun, WARM_UP, None).await?;
    let (in_a_loop, crun_in_a_loop) = turn_by_turn(&mut connection, &mut crun, turns, None).await?;
    let (spread, crun_spread) = turn_by_turn(&mut connection, &mut crun, turns, Some(APART)).await?;
    // Some hundred milliseconds each.
    let mut podman = crun.filter(|_| Beside::has_podman()).map(|(beside, _)| (beside, Runtime::Podman));
    let turns = if podman.is_some() { turns / 10 } else { 0 };
    let (_, podman_in_a_loop) = turn_by_turn(&mut connection, &mut podman, turns, None).await?;
    Ok(json!({
        "loop": in_a_loop.summary(),
        "every_50_ms": spread.summary(),
        "crun_loop": rootfs.map(|_| crun_in_a_loop.summary()),
        "crun_every_50_ms": rootfs.map(|_| crun_spread.summary()),
        "podman_loop": podman.map(|_| podman_in_a_loop.summary()),
    }))
}

async fn turn_by_turn(
    connection: &mut Connection,
    beside: &mut Option<(&mut Beside, Runtime)>,
    turns: usize,
    apart: Option<Duration>,
) -> Result<(Figures, Figures)> {
    let (mut ours, mut theirs) = (Figures::default(), Figures::default());
    let mut ticks = interval(apart.unwrap_or(Duration::from_micros(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..turns {
        if apart.is_some() {
            ticks.tick().await;
        }
        let (id, spent) = make(connection).await?;
        ours.add(spent);
        remove(connection, &id).await?;
        if let Some((beside, runtime)) = beside {
            if apart.is_some() {
                ticks.tick().await;
            }
            theirs.add(beside.run(*runtime).await?);
        }
    }
    Ok((ours, theirs))
}
