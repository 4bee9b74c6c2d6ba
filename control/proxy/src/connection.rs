//! One exchange with an agent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use sebring_types::SandboxId;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::pool::{Pool, Sender};

/// An answer, and the connection that it comes on.
pub(crate) struct Exchange {
    pub answer: Response<Incoming>,
    pub sender: Sender,
}

/// Answers such as 100 or 103 that may come before the answer itself.
const INTERIM: usize = 16;

/// Sends the request on a kept connection, or on a new one.
///
/// An agent may close a kept connection just when it is used again. As long as nothing of the request was sent it is
/// sent on a new one; afterwards nobody knows whether the agent acted on it, so it fails.
///
/// The head of the answer may take as long as what was asked for: the connection is the caller's, and is closed when
/// the caller goes.
pub(crate) async fn exchange(pool: &Pool, id: SandboxId, mut request: Request<Body>) -> Result<Exchange, Error> {
    let mut flood = bound_interim(&mut request);
    tokio::select! {
        exchange = send(pool, id, request) => exchange,
        // Dropping the exchange closes the connection. An error means that the exchange no longer listens, either.
        Ok(()) = &mut flood => Err(Error::Answer("interim answers without an end")),
    }
}

/// Resolves when more interim answers came than anybody needs.
fn bound_interim(request: &mut Request<Body>) -> oneshot::Receiver<()> {
    let (tell, flood) = oneshot::channel();
    let (seen, tell) = (AtomicUsize::new(0), Mutex::new(Some(tell)));
    hyper::ext::on_informational(request, move |_| {
        if seen.fetch_add(1, Ordering::Relaxed) == INTERIM
            && let Some(tell) = tell.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            // Nobody waits for the answer any more.
            let _ = tell.send(());
        }
    });
    flood
}

async fn send(pool: &Pool, id: SandboxId, mut request: Request<Body>) -> Result<Exchange, Error> {
    while let Some(mut sender) = pool.kept(id) {
        match sender.try_send_request(request).await {
            Ok(answer) => return Ok(Exchange { answer, sender }),
            Err(mut error) => match error.take_message() {
                Some(unsent) => request = unsent,
                None => return Err(error.into_error().into()),
            },
        }
    }
    let mut sender = pool.connect(id).await?;
    let answer = sender.send_request(request).await?;
    Ok(Exchange { answer, sender })
}
