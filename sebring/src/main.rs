//! `sebring`: the command line, and the roles wired together.
//!
//! Flags are parsed here into one config per role; the code below sees only those.
#![forbid(unsafe_code)]

mod doctor;
mod front;
mod logging;
mod network;
mod runner;
mod serve;
mod snapshot;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::logging::LogFormat;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The sandbox cloud you own: isolated computers for AI agents, in one program.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Of the log, on standard error.
    #[arg(long, global = true, value_enum, default_value_t, env = "SEBRING_LOG_FORMAT")]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API and run sandboxes on this machine.
    Serve(Box<serve::Options>),
    /// Make and list snapshots, the templates of sandboxes.
    Snapshot(snapshot::Options),
    /// Look after what this machine holds of sandboxes.
    Runner(runner::Options),
    /// Say what this host offers and lacks, and what each lack costs.
    Doctor {
        #[command(flatten)]
        data: DataDir,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove every sandbox, and the data directory. The server must be stopped.
    Purge(DataDir),
}

/// Where everything is kept.
#[derive(Debug, Clone, clap::Args)]
struct DataDir {
    /// Directory of the database, snapshots and sandboxes.
    #[arg(long = "data-dir", value_name = "DIR", default_value = "/var/lib/sebring", env = "SEBRING_DATA_DIR")]
    path: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(cli.log_format);
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(options) => serve::run(*options),
        Command::Snapshot(options) => snapshot::run(options),
        Command::Runner(options) => runner::run(options),
        Command::Doctor { data, json } => doctor::run(&data.path, json),
        Command::Purge(data) => purge(&data.path),
    }
}

fn purge(data_dir: &Path) -> anyhow::Result<()> {
    if !data_dir.exists() {
        return Ok(());
    }
    sebring_runner::purge(data_dir).with_context(|| format!("{} could not be purged", data_dir.display()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
