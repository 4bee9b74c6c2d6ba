//! A proxy on a port, before sandboxes whose agent is a router.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, header};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use sebring_store::Sandbox;
use sebring_testing::Rig;
use tokio::net::{TcpListener, TcpStream};

pub struct Server {
    pub rig: Rig,
    pub address: SocketAddr,
    pub sandbox: Sandbox,
}

impl Server {
    pub async fn new(agent: Router) -> Self {
        let rig = Rig::with_agent(agent).await;
        let sandbox = rig.sandbox().await;
        let (lifecycle, authenticator) = (rig.lifecycle.clone(), rig.authenticator.clone());
        let router = sebring_proxy::router(lifecycle, authenticator, rig.hands(), rig.events.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { rig, address, sandbox }
    }

    /// The path to the sandbox's agent.
    pub fn path(&self, path: &str) -> String {
        format!("/toolbox/{}{path}", self.sandbox.id)
    }

    /// A request with the admin key.
    pub fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "box.example")
            .header(header::AUTHORIZATION, self.bearer())
    }

    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.rig.key.reveal())
    }

    /// A connection to the proxy.
    pub async fn connect(&self) -> SendRequest<Body> {
        let stream = TcpStream::connect(self.address).await.expect("connected");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection.with_upgrades());
        sender
    }

    pub async fn send(&self, request: Request<Body>) -> Response<hyper::body::Incoming> {
        self.connect().await.send_request(request).await.expect("an answer")
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let request = self.request("GET", &self.path(path)).body(Body::empty()).expect("a request");
        read(self.send(request).await).await
    }
}

/// Status and body.
pub async fn read(response: Response<hyper::body::Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(Body::new(response.into_body()), usize::MAX).await.expect("a body");
    (status, String::from_utf8(bytes.to_vec()).expect("text"))
}
