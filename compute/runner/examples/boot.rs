//! Creates and destroys sandboxes without a control plane, in turn as a small process and as one that holds a GiB:
//! what a start takes must not depend on it. `boot AGENT SNAPSHOT_DIR DATA_DIR [COUNT]` prints JSON.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use sebring_runner::{Host, LocalRunner, RunnerConfig};
use sebring_types::runner::{Egress, SandboxSpec};
use sebring_types::{Resources, Runner, SandboxId};

const BALLAST: usize = 1 << 30;
/// Turns with and without ballast.
const TURNS: usize = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let args: Vec<String> = std::env::args().collect();
    let [_, agent, snapshots, data, ..] = args.as_slice() else { return Err("see the source for arguments".into()) };
    let count: usize = args.get(4).map_or(Ok(100), |text| text.parse())?;
    let mut config = RunnerConfig::new(data.as_ref());
    config.layout.snapshot_dir = snapshots.into();
    let host = Host::prepare(config, &std::fs::read(agent)?)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let runner = LocalRunner::start(host).await?;
        let snapshot = runner.snapshots().await?.pop().ok_or("no snapshot")?.name;
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            small.extend(creates(&runner, &snapshot, count / TURNS).await?);
            // Not zero, so that each page is really there.
            let ballast = vec![1u8; BALLAST];
            large.extend(creates(&runner, &snapshot, count / TURNS).await?);
            drop(black_box(ballast));
        }
        println!(r#"{{ "plain_p50_ms": {}, "with_1_gib_p50_ms": {} }}"#, median(small), median(large));
        Ok(())
    })
}

async fn creates(
    runner: &LocalRunner,
    snapshot: &str,
    count: usize,
) -> Result<Vec<Duration>, Box<dyn std::error::Error>> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let spec = SandboxSpec {
            id: SandboxId::generate(),
            name: String::new(),
            hostname: "boot".into(),
            snapshot: snapshot.to_owned(),
            user: None,
            env: BTreeMap::new(),
            resources: Resources::default(),
            egress: Egress::Open,
            linked_to: None,
        };
        let id = spec.id;
        let start = Instant::now();
        runner.create(spec).await?;
        times.push(start.elapsed());
        runner.destroy(id).await?;
    }
    Ok(times)
}

/// Milliseconds, to three digits after the point.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    let middle = times.get(times.len() / 2).copied().unwrap_or_default();
    (middle.as_secs_f64() * 1e6).round() / 1e3
}
