//! One kept HTTP/1.1 connection to the server.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

type Body = BoxBody<Bytes, std::convert::Infallible>;

/// The server under test.
#[derive(Clone)]
pub struct Target {
    /// `host:port`
    authority: String,
    /// Of the API, without a trailing slash.
    api_path: String,
    key: String,
}

impl Target {
    pub fn new(api_url: &str, key: &str) -> Result<Self> {
        let rest = api_url.strip_prefix("http://").context("the API's URL must begin with http://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(Self {
            authority: authority.into(),
            api_path: format!("/{}", path.trim_end_matches('/')),
            key: format!("Bearer {key}"),
        })
    }

    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The value of an `Authorization` header.
    pub fn authorization(&self) -> &str {
        &self.key
    }

    /// A bare connection.
    pub async fn dial(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(&self.authority)
            .await
            .with_context(|| format!("no server answers at {}", self.authority))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    pub async fn connect(&self) -> Result<Connection> {
        let stream = self.dial().await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection { target: self.clone(), sender })
    }
}

/// A connection that sends one request after the other.
pub struct Connection {
    target: Target,
    sender: SendRequest<Body>,
}

impl Connection {
    /// A call of the API, e.g. `("POST", "/sandbox", "{}")`; an error unless it answers 2xx.
    pub async fn api(&mut self, method: Method, path: &str, json: &str) -> Result<Value> {
        let path = format!("{}{path}", self.target.api_path);
        self.json(method, &path, json).await
    }

    /// A call of a sandbox's toolbox.
    pub async fn toolbox(&mut self, sandbox: &str, method: Method, path: &str, json: &str) -> Result<Value> {
        let path = format!("/toolbox/{sandbox}{path}");
        self.json(method, &path, json).await
    }

    /// What [`Connection::api`] answers, and how long that took.
    pub async fn timed_api(&mut self, method: Method, path: &str, json: &str) -> Result<(Value, Duration)> {
        let began = Instant::now();
        let answer = self.api(method, path, json).await?;
        Ok((answer, began.elapsed()))
    }

    async fn json(&mut self, method: Method, path: &str, json: &str) -> Result<Value> {
        let body = Full::new(Bytes::copy_from_slice(json.as_bytes())).boxed();
        let response = self.send(method, path, "application/json", body).await?;
        let bytes = response.into_body().collect().await?.to_bytes();
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Posts `chunks` one after the other as they are taken by the server.
    pub async fn stream_up(
        &mut self,
        path: &str,
        content_type: &str,
        chunks: impl Iterator<Item = Bytes> + Send + Sync + 'static,
    ) -> Result<()> {
        let body = StreamBody::new(stream::iter(chunks.map(|chunk| Ok(Frame::data(chunk))))).boxed();
        let response = self.send(Method::POST, path, content_type, body).await?;
        response.into_body().collect().await?;
        Ok(())
    }

    /// Posts `json` and counts the bytes of the answer as they come.
    pub async fn stream_down(&mut self, path: &str, json: &str) -> Result<u64> {
        let body = Full::new(Bytes::copy_from_slice(json.as_bytes())).boxed();
        let mut body = self.send(Method::POST, path, "application/json", body).await?.into_body();
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame?.data_ref() {
                received += data.len() as u64;
            }
        }
        Ok(received)
    }

    async fn send(&mut self, method: Method, path: &str, content_type: &str, body: Body) -> Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.target.authority)
            .header("authorization", &self.target.key)
            .header("content-type", content_type)
            .body(body)?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        if !response.status().is_success() {
            let status = response.status();
            let text = response.into_body().collect().await?.to_bytes();
            bail!("{path} answered {status}: {}", String::from_utf8_lossy(&text));
        }
        Ok(response)
    }
}
