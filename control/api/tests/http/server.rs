//! The API of a rig, asked without a network.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use sebring_api::Config;
use sebring_testing::Rig;
use sebring_types::Resources;
use serde_json::Value;
use tower::ServiceExt;

pub struct Server {
    pub rig: Rig,
    pub router: Router,
}

pub struct Answer {
    pub status: StatusCode,
    pub text: String,
    pub json: Value,
}

impl Server {
    pub async fn new() -> Self {
        let rig = Rig::new().await;
        let config = Config {
            public_url: None,
            local_url: "http://127.0.0.1:3986".to_owned(),
            version: "1.2.3".to_owned(),
            limits: Resources { cpu: 2, memory: 4, disk: 10 },
        };
        let router = sebring_api::router(config, rig.lifecycle.clone(), rig.authenticator.clone(), rig.events.clone());
        Self { rig, router }
    }

    /// A request with the admin key.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        let bearer = format!("Bearer {}", self.rig.key.reveal());
        self.ask_with(method, path, body, &[(header::AUTHORIZATION.as_str(), &bearer)]).await
    }

    /// A request with these headers alone.
    pub async fn ask_with(&self, method: &str, path: &str, body: Option<&str>, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "box.example:3986");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_owned()));
        let request = request.body(body).expect("a request");
        Answer::read(self.router.clone().oneshot(request).await.expect("infallible")).await
    }
}

impl Answer {
    async fn read(response: Response<Body>) -> Self {
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        let mut json: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        // Another crate of the workspace may have the library keep the order of keys.
        json.sort_all_objects();
        Self { status, text, json }
    }

    pub fn message(&self) -> &str {
        self.json["message"].as_str().unwrap_or_default()
    }
}
