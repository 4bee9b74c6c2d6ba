//! Measures a running server from outside, as its users meet it, beside `crun` and `podman` on the same files.
//!
//! Figures drift with the machine's other work, so what is compared runs in pairs, turn by turn, and medians are
//! quoted. Results are one JSON document on standard output; `bench/report.py` makes the table of it.
#![forbid(unsafe_code)]

mod beside;
mod connection;
mod figures;
mod files;
mod interpreter;
mod lifecycle;
mod load;
mod machine;
mod memory;
mod network;
mod process;
mod sandbox;
mod terminal;
mod transfer;
mod websocket;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;
use serde_json::{Map, Value, json};

use crate::connection::Target;

/// Measures a running server. DAYTONA_API_URL and DAYTONA_API_KEY name it.
#[derive(Parser)]
struct Arguments {
    /// Of the API, e.g. http://127.0.0.1:3986/api
    #[arg(long, env = "DAYTONA_API_URL")]
    api_url: String,
    #[arg(long, env = "DAYTONA_API_KEY", hide_env_values = true)]
    api_key: String,
    /// Process id of the server, whose memory is watched
    #[arg(long, env = "SEBRING_PID")]
    pid: u32,
    /// A snapshot's root file system, for crun and podman; without it they are left out
    #[arg(long)]
    rootfs: Option<PathBuf>,
    /// Sandboxes to create for each median
    #[arg(long, default_value_t = 200)]
    turns: usize,
    /// Idle sandboxes to hold for the memory of one; 0 leaves it out
    #[arg(long, default_value_t = 1000)]
    idle: usize,
    /// Only these: create, process, lifecycle, memory, transfer, network, toolbox, load
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

const PARTS: [&str; 8] = ["create", "process", "lifecycle", "memory", "transfer", "network", "toolbox", "load"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    if let Some(bundle) = beside::asked_to_run() {
        return beside::serve(&bundle);
    }
    let arguments = Arguments::parse();
    if let Some(unknown) = arguments.only.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!("no part is called {unknown}; there are {}", PARTS.join(", "));
    }
    let target = Target::new(&arguments.api_url, &arguments.api_key)?;
    let mut results = Map::new();
    results.insert("machine".into(), machine::describe()?);
    for part in PARTS {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|wanted| wanted == part) {
            continue;
        }
        eprintln!("{part}");
        results.insert(part.into(), measure(part, &target, &arguments).await?);
    }
    println!("{}", serde_json::to_string_pretty(&Value::Object(results))?);
    Ok(())
}

async fn measure(part: &str, target: &Target, arguments: &Arguments) -> Result<Value> {
    match part {
        "create" => sandbox::create(target, arguments.rootfs.as_deref(), arguments.turns).await,
        "process" => process::execute(target, arguments.turns).await,
        "lifecycle" => lifecycle::stop_start_delete(target, arguments.turns / 4).await,
        "memory" => memory::agent_and_idle(target, arguments.idle).await,
        "transfer" => transfer::one_gib(target, arguments.pid).await,
        "network" => network::throughput(target).await,
        "toolbox" => Ok(json!({
            "terminal": terminal::keystrokes(target, arguments.turns).await?,
            "interpreter": interpreter::executions(target, arguments.turns).await?,
            "files": files::many(target).await?,
        })),
        "load" => load::many_clients(target).await,
        other => bail!("no part is called {other}"),
    }
}
