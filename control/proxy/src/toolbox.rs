//! The route `/toolbox/{sandbox id}/…`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, Method, Response, Uri, Version};
use axum::routing::any;
use http_body::Body as _;
use jiff::Timestamp;
use sebring_auth::{Authenticator, Permission, Principal, Visitor};
use sebring_events::{EventKind, Events, RecvError};
use sebring_lifecycle::{Lifecycle, Live};
use sebring_types::{Runner, SandboxState};
use tokio::time::timeout;

use crate::answer::Asked;
use crate::body::Returning;
use crate::connection::{Exchange, exchange};
use crate::error::Error;
use crate::pool::Pool;
use crate::signature::Signed;
use crate::target::Target;
use crate::{answer, headers, upgrade};

/// A request with this header does not count as activity.
const UNCOUNTED: HeaderName = HeaderName::from_static("x-daytona-skip-last-activity-update");

/// How long the end of a sandbox may take to be known after its connections broke.
const HEARSAY: Duration = Duration::from_millis(500);

/// Bytes of a path that go to the log.
pub(crate) const LOGGED: usize = 256;

#[derive(Clone)]
struct Proxy {
    lifecycle: Lifecycle,
    authenticator: Authenticator,
    pool: Pool,
    events: Events,
}

/// The routes under `/toolbox`.
pub fn router(lifecycle: Lifecycle, authenticator: Authenticator, runner: Arc<dyn Runner>, events: Events) -> Router {
    let pool = Pool::new(runner);
    tokio::spawn(close_stopped(pool.clone(), events.clone()));
    let proxy = Proxy { lifecycle, authenticator, pool, events };
    Router::new().route("/toolbox/{*rest}", any(toolbox)).route("/api/toolbox/{*rest}", any(toolbox)).with_state(proxy)
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

/// Refuses while the sandbox does not run.
fn running(live: &Live) -> Result<(), Error> {
    match live.state() {
        SandboxState::Started => Ok(()),
        SandboxState::Destroying | SandboxState::Destroyed => Err(Error::NotFound(live.id.to_string())),
        state => Err(Error::NotStarted(state)),
    }
}

/// A request that may go on.
struct Admitted {
    live: Arc<Live>,
    /// For its agent.
    path: PathAndQuery,
    /// By a URL that needs no key.
    signed: bool,
}

async fn toolbox(State(proxy): State<Proxy>, request: Request) -> Response<Body> {
    let (method, path, begun) = (request.method().clone(), request.uri().path().to_owned(), Instant::now());
    // A log has no use for more of them.
    let logged = path.get(..LOGGED).unwrap_or(&path);
    let answer = proxy.forward(request).await.unwrap_or_else(|error| error.answer(&method, &path));
    let (status, micros) = (answer.status().as_u16(), begun.elapsed().as_micros());
    tracing::debug!(%method, path = logged, status, micros, "toolbox request answered");
    answer
}

impl Proxy {
    async fn forward(&self, request: Request) -> Result<Response<Body>, Error> {
        let (parts, body) = request.into_parts();
        let Admitted { live, path, signed } = self.admit(&parts).await?;
        let mut request = Request::from_parts(parts, body);
        let id = live.id;
        let busy = (!request.headers().contains_key(UNCOUNTED)).then(|| self.lifecycle.busy(&live));

        let websocket = answer::is_websocket(request.headers());
        let asked = Asked { method: request.method().clone(), websocket, signed };
        let client = websocket.then(|| hyper::upgrade::on(&mut request));
        headers::for_agent(request.headers_mut(), websocket);
        *request.uri_mut() = Uri::from(path);
        *request.version_mut() = Version::HTTP_11;
        let Exchange { mut answer, sender } = match exchange(&self.pool, id, request).await {
            Ok(exchange) => exchange,
            Err(error) => return Err(self.explain(&live, error).await),
        };

        let agent = client.map(|client| (client, hyper::upgrade::on(&mut answer)));
        let (answer, body) = answer.into_parts();
        let (head, switches) = answer::head(&asked, &answer, body.is_end_stream())?;
        let body = match agent.filter(|_| switches) {
            Some((client, agent)) => {
                upgrade::join(id, client, agent, busy);
                Body::empty()
            }
            None => Body::new(Returning::new(body, self.pool.clone(), id, sender, busy)),
        };
        head.body(body).map_err(|_| Error::Answer("a head that is none"))
    }

    /// The sandbox and the path for its agent, if the caller may and the sandbox runs.
    async fn admit(&self, request: &Parts) -> Result<Admitted, Error> {
        if matches!(request.method, Method::CONNECT | Method::TRACE) {
            return Err(self.principal(request).await.err().unwrap_or(Error::Internal));
        }
        let Target { sandbox, path } = match Target::of(&request.uri) {
            Ok(target) => target,
            // Without a key nobody hears what is wrong with the path.
            Err(error) => return Err(self.principal(request).await.err().unwrap_or(error)),
        };
        let found = self.lifecycle.live(sandbox);
        let not_found = || Error::NotFound(sandbox.to_string());
        let signed = Signed::of(&request.method, &request.headers, &path);
        let is_signed = signed.is_some();
        let (live, path) = match signed {
            Some(signed) => {
                let live = found.ok_or(Error::Signature)?;
                let path = signed.check(&live.signing_key(), Timestamp::now())?;
                if let Some(visitor) = request.extensions.get::<Visitor>() {
                    visitor.welcome();
                }
                (live, path)
            }
            None => {
                let caller = self.principal(request).await?.organization;
                (found.filter(|live| live.organization == caller).ok_or_else(not_found)?, path)
            }
        };
        running(&live)?;
        Ok(Admitted { live, path, signed: is_signed })
    }

    /// Why an exchange failed, in the eyes of who asked: a sandbox that ends takes its connections along.
    async fn explain(&self, live: &Live, error: Error) -> Error {
        if !matches!(error, Error::Gone(_)) {
            return error;
        }
        let mut events = self.events.subscribe();
        let changed =
            async { while running(live).is_ok() && !matches!(events.recv().await, Err(RecvError::Closed)) {} };
        // Its end may be known a moment later than felt.
        let _in_time = timeout(HEARSAY, changed).await;
        running(live).err().unwrap_or(error)
    }

    async fn principal(&self, request: &Parts) -> Result<Principal, Error> {
        let principal = self.authenticator.request(request).await?;
        principal.require(Permission::WriteSandboxes)?;
        Ok(principal)
    }
}
