//! One exchange with an agent.

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use sebring_types::SandboxId;

use crate::error::Error;
use crate::pool::{Pool, Sender};

/// An answer, and the connection that it comes on.
pub(crate) struct Exchange {
    pub answer: Response<Incoming>,
    pub sender: Sender,
}

/// Sends the request on a kept connection, or on a new one.
///
/// An agent may close a kept connection just when it is used again. As long as nothing of the request was sent it is
/// sent on a new one; afterwards nobody knows whether the agent acted on it, so it fails.
pub(crate) async fn exchange(pool: &Pool, id: SandboxId, mut request: Request<Body>) -> Result<Exchange, Error> {
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
