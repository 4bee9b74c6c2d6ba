//! The agent's life after its set-up: serve and reap until told to stop, then end everything in order.

use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;
use tokio::time::Instant;

use super::connections::Connection;
use super::request::Request;
use super::routes;
use crate::agent::Agent;
use crate::guest::signals::Signals;
use crate::process::children::Children;
use crate::process::tree;

/// Waits for the next try when the agent has run out of descriptors or memory for another connection.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// Serves until `SIGTERM`. Calls `ready` when it does.
pub async fn run(agent: Agent, listener: StdListener, ready: impl FnOnce()) -> io::Result<()> {
    let agent = Arc::new(agent);
    let signals = Signals::listen()?;
    let listener = UnixListener::from_std(listener)?;
    agent.start_entrypoint().await;
    let accepting = tokio::spawn(accept(listener, Arc::clone(&agent)));
    ready();
    loop {
        let arrived = signals.next().await?;
        if arrived.child {
            agent.children.reap();
        }
        if arrived.terminate {
            break;
        }
    }
    accepting.abort();
    stop(&agent, &signals).await
}

/// `SIGTERM` to all, the time of grace, `SIGKILL` to the rest. Stopped processes are woken to hear it; shells on
/// terminals ignore it, and are hung up on.
async fn stop(agent: &Agent, signals: &Signals) -> io::Result<()> {
    agent.children.close();
    tree::signal_all(libc::SIGTERM);
    tree::signal_all(libc::SIGCONT);
    agent.ptys.list().iter().for_each(|pty| pty.hang_up());
    let deadline = Instant::now() + agent.grace;
    if tokio::time::timeout_at(deadline, childless(&agent.children, signals)).await.is_err() {
        tree::signal_all(libc::SIGKILL);
        childless(&agent.children, signals).await?;
    }
    Ok(())
}

/// Every process of the sandbox is below pid 1: without children it is alone.
async fn childless(children: &Children, signals: &Signals) -> io::Result<()> {
    while children.reap() {
        signals.next().await?;
    }
    Ok(())
}

async fn accept(listener: UnixListener, agent: Arc<Agent>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = Connection::new(stream, Arc::clone(&agent.connections));
                tokio::spawn(converse(connection, Arc::clone(&agent)));
            }
            // The other side gave up, or there is no descriptor left; neither lasts.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// One connection. When the other side closes it, the handler of its request is dropped where it waits.
async fn converse(connection: Connection, agent: Arc<Agent>) {
    let id = connection.id;
    let service = service_fn(|request| {
        let agent = Arc::clone(&agent);
        async move { Ok::<_, Infallible>(routes::answer(agent, Request::new(request, id)).await) }
    });
    // A broken connection is its client's affair.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(connection), service).with_upgrades().await;
}
