//! The route `/toolbox/{sandbox id}/…`.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, Response, StatusCode, Uri, Version};
use axum::routing::any;
use jiff::Timestamp;
use sebring_auth::{Authenticator, Permission, Principal};
use sebring_events::{EventKind, Events, RecvError};
use sebring_lifecycle::{Lifecycle, Live};
use sebring_types::{Runner, SandboxState};

use crate::body::Returning;
use crate::connection::{Exchange, exchange};
use crate::error::Error;
use crate::pool::Pool;
use crate::signature::Signed;
use crate::target::Target;
use crate::{headers, upgrade};

/// A request with this header does not count as activity.
const UNCOUNTED: HeaderName = HeaderName::from_static("x-daytona-skip-last-activity-update");

#[derive(Clone)]
struct Proxy {
    lifecycle: Lifecycle,
    authenticator: Authenticator,
    pool: Pool,
}

/// The routes under `/toolbox`.
pub fn router(lifecycle: Lifecycle, authenticator: Authenticator, runner: Arc<dyn Runner>, events: Events) -> Router {
    let pool = Pool::new(runner);
    tokio::spawn(close_stopped(pool.clone(), events));
    let proxy = Proxy { lifecycle, authenticator, pool };
    Router::new().route("/toolbox/{*rest}", any(toolbox)).with_state(proxy)
}

/// Drops the connections of sandboxes that stop.
async fn close_stopped(pool: Pool, events: Events) {
    let mut events = events.subscribe();
    loop {
        match events.recv().await {
            Ok(event) => {
                if let EventKind::StateUpdated { old: SandboxState::Started, .. } = event.kind {
                    pool.forget(event.sandbox.id);
                }
            }
            Err(RecvError::Lagged(_)) => pool.clear(),
            Err(RecvError::Closed) => return,
        }
    }
}

async fn toolbox(State(proxy): State<Proxy>, request: Request) -> Response<Body> {
    let (method, path, begun) = (request.method().clone(), request.uri().path().to_owned(), Instant::now());
    let answer = proxy.forward(request).await.unwrap_or_else(|error| error.answer(&method, &path));
    let (status, micros) = (answer.status().as_u16(), begun.elapsed().as_micros());
    tracing::debug!(%method, %path, status, micros, "toolbox request answered");
    answer
}

impl Proxy {
    async fn forward(&self, request: Request) -> Result<Response<Body>, Error> {
        let (parts, body) = request.into_parts();
        let (live, path) = self.admit(&parts).await?;
        let mut request = Request::from_parts(parts, body);
        let id = live.id;
        let busy = (!request.headers().contains_key(UNCOUNTED)).then(|| self.lifecycle.busy(&live));

        let protocol = headers::upgrade(request.headers());
        let client = protocol.is_some().then(|| hyper::upgrade::on(&mut request));
        headers::for_agent(request.headers_mut(), protocol);
        *request.uri_mut() = Uri::from(path);
        *request.version_mut() = Version::HTTP_11;
        let Exchange { mut answer, sender } = exchange(&self.pool, id, request).await?;

        let switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        let protocol = headers::upgrade(answer.headers()).filter(|_| switched);
        headers::for_client(answer.headers_mut(), protocol);
        if let Some(client) = client.filter(|_| switched) {
            upgrade::join(id, client, hyper::upgrade::on(&mut answer), busy);
            return Ok(answer.map(|_| Body::empty()));
        }
        let pool = self.pool.clone();
        Ok(answer.map(|body| Body::new(Returning::new(body, pool, id, sender, busy))))
    }

    /// The sandbox and the path for its agent, if the caller may and the sandbox runs.
    async fn admit(&self, request: &Parts) -> Result<(Arc<Live>, PathAndQuery), Error> {
        let Target { sandbox, path } = match Target::of(&request.uri) {
            Ok(target) => target,
            // Without a key nobody hears what is wrong with the path.
            Err(error) => return Err(self.principal(request).await.err().unwrap_or(error)),
        };
        let found = self.lifecycle.live(sandbox);
        let not_found = || Error::NotFound(sandbox.to_string());
        let (live, path) = match Signed::of(&request.method, &request.headers, &path) {
            Some(signed) => {
                let live = found.ok_or(Error::Signature)?;
                let path = signed.check(&live.signing_key(), Timestamp::now())?;
                (live, path)
            }
            None => {
                let caller = self.principal(request).await?.organization;
                (found.filter(|live| live.organization == caller).ok_or_else(not_found)?, path)
            }
        };
        match live.state() {
            SandboxState::Started => Ok((live, path)),
            state => Err(Error::NotStarted(state)),
        }
    }

    async fn principal(&self, request: &Parts) -> Result<Principal, Error> {
        let principal = self.authenticator.headers(&request.headers).await?;
        principal.require(Permission::WriteSandboxes)?;
        Ok(principal)
    }
}
