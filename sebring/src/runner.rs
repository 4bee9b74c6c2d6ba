//! `sebring runner …`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use sebring_runner::{Leftover, RunnerConfig};

use crate::DataDir;
use crate::serve::AGENT;

/// What to do with the runner of this machine.
#[derive(Debug, Args)]
#[group(id = "runner")]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Remove what belongs to no sandbox. The server must be stopped; sandboxes may run.
    ///
    /// A server removes by itself what a crash left, when it starts. This also removes what was left by hand or by other
    /// versions: interfaces, packet rules, agents, layers of certificates, templates of disks that nobody has.
    Gc {
        #[command(flatten)]
        data: DataDir,
        /// Where the snapshots are, if not in the data directory.
        #[arg(long, value_name = "DIR", env = "SEBRING_SNAPSHOT_DIR")]
        snapshot_dir: Option<PathBuf>,
        /// Only show what would be removed, and why.
        #[arg(long)]
        dry_run: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the points at which tests can end the server.
    #[command(hide = true)]
    Faults,
}

pub fn run(options: Options) -> anyhow::Result<()> {
    match options.action {
        Action::Gc { data, snapshot_dir, dry_run, json } => {
            anyhow::ensure!(rustix::process::geteuid().is_root(), "sebring runner gc must run as root");
            let mut config = RunnerConfig::new(&data.path);
            if let Some(dir) = snapshot_dir {
                config.layout.snapshot_dir = dir;
            }
            let found = sebring_runner::gc(config, AGENT, dry_run)
                .context("nothing was looked for: what a running server is making would look left over")?;
            show(&found, dry_run, json)
        }
        Action::Faults => {
            sebring_fault::Point::ALL.iter().for_each(|point| println!("{}", point.name()));
            Ok(())
        }
    }
}

fn show(found: &[Leftover], dry_run: bool, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(found)?);
        return Ok(());
    }
    let width = found.iter().map(|leftover| leftover.name.len()).max().unwrap_or_default();
    for Leftover { kind, name, reason } in found {
        println!("{kind:<11}{name:<width$}  {reason}");
    }
    match (found.len(), dry_run) {
        (0, _) => println!("nothing is left over"),
        (count, true) => println!("\n{count} would be removed"),
        (count, false) => println!("\n{count} removed"),
    }
    Ok(())
}
