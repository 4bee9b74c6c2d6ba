//! `sebring snapshot …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sebring_images::{BootstrapConfig, Console, DEFAULT_SNAPSHOT, SnapshotStore, bootstrap};
use sebring_types::Isolation;

use crate::DataDir;

/// What to do with snapshots.
#[derive(Debug, Args)]
#[group(id = "snapshot")]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make the default snapshot from Debian's packages; does nothing when it is there already.
    Bootstrap {
        #[command(flatten)]
        data: DataDir,
        /// Another mirror of Debian's packages.
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
        /// Certificates that downloads trust, for networks that inspect TLS.
        #[arg(long, value_name = "FILE")]
        ca_bundle: Option<PathBuf>,
        /// Make it again although it is there.
        #[arg(long)]
        force: bool,
    },
    /// Say how far sandboxes of a snapshot are confined, from their next start.
    Isolate {
        #[command(flatten)]
        data: DataDir,
        /// Of the snapshot.
        name: String,
        /// `system` or `strict`; what the server says when absent.
        isolation: Option<Isolation>,
    },
    /// List the snapshots on this machine.
    List(DataDir),
}

pub fn run(options: Options) -> anyhow::Result<()> {
    match options.action {
        Action::Bootstrap { data, mirror, ca_bundle, force } => {
            let name = DEFAULT_SNAPSHOT.to_owned();
            let config = BootstrapConfig { data_dir: data.path, name, mirror, ca_bundle, force };
            let manifest = bootstrap(&config, &mut Console::new())?;
            println!("{}", manifest.name);
        }
        Action::Isolate { data, name, isolation } => {
            let changed = SnapshotStore::open(&data.path)?.isolate(&name, isolation)?;
            anyhow::ensure!(changed > 0, "there is no snapshot {name} in {}", data.path.display());
        }
        Action::List(data) => {
            for manifest in SnapshotStore::open(&data.path)?.list()? {
                println!("{}\t{} MB\t{}", manifest.name, manifest.size / 1_000_000, manifest.created_at);
            }
        }
    }
    Ok(())
}
