//! Creates and destroys sandboxes without a control plane, and says how long each took: `boot AGENT SNAPSHOT_DIR DATA_DIR [COUNT]`.

use std::collections::BTreeMap;
use std::time::Instant;

use sebring_runner::{Host, LocalRunner, RunnerConfig};
use sebring_types::runner::{Egress, SandboxSpec};
use sebring_types::{Resources, Runner, SandboxId};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let args: Vec<String> = std::env::args().collect();
    let [_, agent, snapshots, data, ..] = args.as_slice() else { return Err("see the source for arguments".into()) };
    let count = args.get(4).map_or(Ok(1), |text| text.parse())?;
    let mut config = RunnerConfig::new(data.as_ref());
    config.layout.snapshot_dir = snapshots.into();
    let host = Host::prepare(config, &std::fs::read(agent)?)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let runner = LocalRunner::start(host).await?;
        let snapshot = runner.snapshots().await?.pop().ok_or("no snapshot")?.name;
        let mut times = Vec::new();
        for _ in 0..count {
            let spec = SandboxSpec {
                id: SandboxId::generate(),
                name: String::new(),
                hostname: "boot".into(),
                snapshot: snapshot.clone(),
                user: None,
                env: BTreeMap::new(),
                resources: Resources::default(),
                egress: Egress::Open,
                linked_to: None,
            };
            let id = spec.id;
            let start = Instant::now();
            runner.create(spec).await?;
            let created = start.elapsed();
            drop(runner.connect(id).await?);
            let start = Instant::now();
            runner.destroy(id).await?;
            times.push((created, start.elapsed()));
        }
        times.sort();
        println!("create, destroy: median {:?}", times[times.len() / 2]);
        Ok(())
    })
}
