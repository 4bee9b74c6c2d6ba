//! `sebring serve`: every role in one process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use sebring_auth::Authenticator;
use sebring_events::Events;
use sebring_images::DEFAULT_SNAPSHOT;
use sebring_lifecycle::Lifecycle;
use sebring_runner::{Host, LocalRunner, RunnerConfig, WarmConfig};
use sebring_store::{Secret, Store};
use sebring_types::{Isolation, Resources};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::{DataDir, front, network};

/// The program that runs as pid 1 of each sandbox; built by `build.rs`.
pub(crate) static AGENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sebring-agent"));
/// How long requests may go on after the server was asked to stop. Sandboxes are not affected.
const DRAIN: Duration = Duration::from_secs(5);

/// Letters of an API key that a user chose.
const SHORTEST_KEY: usize = 16;

/// How to serve.
#[derive(Debug, Args)]
#[group(id = "serve")]
pub struct Options {
    #[command(flatten)]
    data: DataDir,
    /// Address and port of the API; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3986", env = "SEBRING_LISTEN")]
    listen: SocketAddr,
    /// Where clients reach the server, when that is not the address they name in their requests.
    #[arg(long, value_name = "URL", env = "SEBRING_PUBLIC_URL")]
    public_url: Option<String>,
    /// Take snapshots from another data directory.
    #[arg(long, value_name = "DIR", env = "SEBRING_SNAPSHOT_DIR")]
    snapshot_dir: Option<PathBuf>,
    /// Certificates (PEM) that sandboxes trust beside their image's own, for networks that inspect TLS.
    #[arg(long, value_name = "FILE", env = "SEBRING_CA_BUNDLE")]
    ca_bundle: Option<PathBuf>,
    /// How far sandboxes are confined whose snapshot does not say: `system` (root inside may mount file systems and run
    /// containers) or `strict`.
    #[arg(long, value_name = "PROFILE", default_value_t, env = "SEBRING_ISOLATION")]
    isolation: Isolation,
    /// Sandboxes that may run at once; the host has room for 4,079 of one server.
    #[arg(long, value_name = "COUNT", env = "SEBRING_MAX_RUNNING")]
    max_running: Option<usize>,
    /// MiB of the host's memory: while less is available, a sandbox that holds much of the kernel's memory outside its limit
    /// is ended; a sixteenth of all, 256 to 2,048, when absent.
    #[arg(long, value_name = "MIB", env = "SEBRING_MEMORY_RESERVE")]
    memory_reserve: Option<u64>,
    /// Sandboxes of the default snapshot that are kept ready, so that a create need not wait until one is made; each takes
    /// about 1 MiB of memory.
    #[arg(long, value_name = "COUNT", default_value_t = 8, env = "SEBRING_WARM")]
    warm: usize,
    #[command(flatten)]
    network: network::Options,
    /// Write a line to this descriptor once the API answers.
    #[arg(long, value_name = "FD")]
    ready_fd: Option<u32>,
    /// A PostgreSQL database, postgres://user@host/database; SQLite in the data directory when absent.
    #[arg(long, value_name = "URL", env = "SEBRING_DATABASE_URL", hide_env_values = true)]
    database: Option<String>,
    /// The first admin key; one is made and printed once when there is none.
    #[arg(long, value_name = "KEY", env = "SEBRING_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
}

pub fn run(options: Options) -> anyhow::Result<()> {
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "sebring serve must run as root: it makes namespaces and mounts"
    );
    options.api_key.as_deref().map_or(Ok(()), check)?;
    let mut config = RunnerConfig::new(&options.data.path);
    config.ca_bundle.clone_from(&options.ca_bundle);
    config.isolation = options.isolation;
    config.max_running = options.max_running.unwrap_or(config.max_running);
    config.memory_reserve = options.memory_reserve.map(|mib| mib.saturating_mul(1 << 20));
    config.network = options.network.config()?;
    config.warm = WarmConfig { snapshot: DEFAULT_SNAPSHOT.to_owned(), count: options.warm };
    if let Some(dir) = &options.snapshot_dir {
        config.layout.snapshot_dir.clone_from(dir);
    }
    // Enters a mount namespace, so no thread may exist yet.
    let host = Host::prepare(config, AGENT).context("this host could not be prepared; `sebring doctor` tells more")?;
    tokio::runtime::Runtime::new()?.block_on(serve(options, host))
}

async fn serve(options: Options, host: Host) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("{} can't be listened on; choose another with --listen", options.listen))?;
    let address = listener.local_addr()?;
    let local_url = format!("http://{address}");

    let local = || format!("sqlite://{}", options.data.path.join("sebring.db").display());
    let store = Store::open(&options.database.unwrap_or_else(local)).await.context("the database")?;
    let organization = store.organizations().ensure_default().await?;
    let given = options.api_key.map(Secret::from);
    let made = store.api_keys().ensure_admin(organization.id, given.as_ref()).await?;

    let limits = host_limits(&options.data.path)?;
    let runner = Arc::new(LocalRunner::start(host).await?);
    let events = Events::new();
    let lifecycle_config =
        sebring_lifecycle::Config { default_snapshot: DEFAULT_SNAPSHOT.to_owned(), ..Default::default() };
    let lifecycle = Lifecycle::start(store.clone(), runner.clone(), events.clone(), lifecycle_config).await?;
    let authenticator = Authenticator::new(store.clone());
    let api_config = sebring_api::Config {
        public_url: options.public_url,
        local_url: local_url.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        limits,
    };
    let app = sebring_api::router(api_config, lifecycle.clone(), authenticator.clone(), events.clone())
        .merge(sebring_proxy::router(lifecycle.clone(), authenticator, runner, events));

    println!("API: {local_url}/api");
    if let Some(key) = made {
        println!("Key: {} (shown once)", key.reveal());
    }
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "serving");
    if let Some(fd) = options.ready_fd {
        std::fs::write(format!("/proc/self/fd/{fd}"), "READY\n").context("--ready-fd")?;
    }
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping; sandboxes go on");
    };
    let served = front::serve(listener, app, stop, DRAIN).await.context("the listener failed");
    lifecycle.shutdown(DRAIN).await;
    store.close().await;
    served
}

/// A key that can't be guessed by trying.
fn check(key: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        key.len() >= SHORTEST_KEY && key.bytes().all(|byte| byte.is_ascii_graphic()),
        "the API key (SEBRING_API_KEY, --api-key) must have at least {SHORTEST_KEY} letters, digits or signs and no space: \
         `openssl rand -hex 24` makes one"
    );
    Ok(())
}

/// One sandbox may ask for as much as the host has.
fn host_limits(data_dir: &std::path::Path) -> anyhow::Result<Resources> {
    const GIB: u64 = 1 << 30;
    let memory = rustix::system::sysinfo();
    let disk = rustix::fs::statvfs(data_dir)?;
    let whole = |bytes: u64| u32::try_from(bytes / GIB).unwrap_or(u32::MAX).max(1);
    Ok(Resources {
        cpu: std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32),
        memory: whole(memory.totalram as u64 * u64::from(memory.mem_unit)),
        disk: whole(disk.f_blocks * disk.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_can_be_guessed_are_refused() {
        assert!(check("0123456789abcdef").is_ok());
        for wrong in ["", "x", "0123456789abcde", "0123456789 abcdef", "0123456789abcde\u{e9}"] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }
}
