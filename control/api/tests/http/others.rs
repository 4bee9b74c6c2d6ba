//! Snapshots, configuration, the OpenAPI document.

use std::collections::BTreeSet;

use crate::server::Server;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use sebring_store::{Grant, Permission, Secret};
use serde_json::json;
use tower::ServiceExt;

#[tokio::test]
async fn snapshots_are_listed_and_found() {
    let server = Server::new().await;
    let page = server.ask("GET", "/api/snapshots?page=1&limit=100", None).await;
    assert_eq!(page.status, StatusCode::OK);
    insta::assert_json_snapshot!(page.json, { ".items[].id" => "id", ".items[].updatedAt" => "time" }, @r#"
    {
      "items": [
        {
          "cpu": 1,
          "createdAt": "1970-01-01T00:00:00Z",
          "disk": 3,
          "entrypoint": null,
          "errorReason": null,
          "general": true,
          "gpu": 0,
          "id": "id",
          "lastUsedAt": null,
          "mem": 1,
          "name": "sebring",
          "sandboxClass": "container",
          "size": 1.5,
          "sourceSandboxId": null,
          "state": "active",
          "updatedAt": "time"
        }
      ],
      "page": 1,
      "total": 1,
      "totalPages": 1
    }
    "#);
    let id = page.json["items"][0]["id"].as_str().expect("an id");
    for name in [id, "sebring"] {
        let found = server.ask("GET", &format!("/api/snapshots/{name}"), None).await;
        assert_eq!(found.json["name"], "sebring");
    }
    for missing in ["a%2Fb%3Ac", "a/b:c"] {
        let answer = server.ask("GET", &format!("/api/snapshots/{missing}"), None).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert!(answer.message().starts_with("snapshot a/b:c not found"), "{}", answer.text);
    }
    let page = server.ask("GET", "/api/snapshots?name=nope", None).await.json;
    assert_eq!((page["total"].as_u64(), page["totalPages"].as_u64()), (Some(0), Some(0)));
    server.ask("POST", "/api/sandbox", Some("{}")).await;
    assert!(server.ask("GET", "/api/snapshots/sebring", None).await.json["lastUsedAt"].is_string());
}

#[tokio::test]
async fn the_runner_tells_what_it_is() {
    let server = Server::new().await;
    server.ask("POST", "/api/sandbox", Some("{}")).await;
    let all = server.ask("GET", "/api/runners", None).await;
    assert_eq!(all.status, StatusCode::OK);
    insta::assert_json_snapshot!(all.json, { "[].lastChecked" => "time", "[].updatedAt" => "time" }, @r#"
    [
      {
        "apiVersion": "1.2.3",
        "appVersion": "1.2.3",
        "cpu": 4,
        "createdAt": "1970-01-01T00:00:00Z",
        "currentAllocatedCpu": 1,
        "currentAllocatedDiskGiB": 3,
        "currentAllocatedMemoryGiB": 1,
        "currentDiskUsagePercentage": 25.0,
        "currentMemoryUsagePercentage": 25.0,
        "currentSnapshotCount": 1,
        "currentStartedSandboxes": 1,
        "disk": 100.0,
        "gpu": 0,
        "id": "local",
        "lastChecked": "time",
        "memory": 8.0,
        "name": "box",
        "region": "local",
        "runnerClass": "container",
        "sandboxClass": "container",
        "state": "ready",
        "tags": [
          "storage=reflink",
          "isolation=system",
          "cgroup=v2"
        ],
        "unschedulable": false,
        "updatedAt": "time",
        "version": "1.2.3"
      }
    ]
    "#);
    let one = server.ask("GET", "/api/runners/local", None).await.json;
    assert_eq!(one["tags"], all.json[0]["tags"]);
    assert_eq!(server.ask("GET", "/api/runners?regionId=elsewhere", None).await.json, json!([]));
    assert_eq!(server.ask("GET", "/api/runners/other", None).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn configuration_has_what_clients_require() {
    let server = Server::new().await;
    let config = server.ask_with("GET", "/api/config", None, &[]).await.json;
    insta::assert_json_snapshot!(config, @r#"
    {
      "announcements": {},
      "dashboardUrl": "http://box.example:3986",
      "defaultSnapshot": "sebring",
      "environment": "production",
      "linkedAccountsEnabled": false,
      "maintananceMode": false,
      "maxAutoArchiveInterval": 43200,
      "oidc": {
        "audience": "",
        "clientId": "",
        "issuer": "",
        "provider": ""
      },
      "proxyTemplateUrl": "http://box.example:3986/api/preview/{{sandboxId}}/{{PORT}}",
      "proxyToolboxUrl": "http://box.example:3986/toolbox",
      "version": "1.2.3"
    }
    "#);
}

#[tokio::test]
async fn document_lists_every_route() {
    let server = Server::new().await;
    let document = server.ask_with("GET", "/api/openapi.json", None, &[]).await.json;
    let operations: Vec<String> = document["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().expect("an item").keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    insta::assert_snapshot!(operations.join("\n"), @r"
    GET /api-keys/current
    GET /config
    GET /health
    GET /health/ready
    GET /runners
    GET /runners/{id}
    GET /sandbox
    POST /sandbox
    GET /sandbox/paginated
    DELETE /sandbox/{sandboxIdOrName}
    GET /sandbox/{sandboxIdOrName}
    POST /sandbox/{sandboxIdOrName}/autoarchive/{interval}
    POST /sandbox/{sandboxIdOrName}/autodelete/{interval}
    POST /sandbox/{sandboxIdOrName}/autopause/{interval}
    POST /sandbox/{sandboxIdOrName}/autostop/{interval}
    PUT /sandbox/{sandboxIdOrName}/labels
    GET /sandbox/{sandboxIdOrName}/network-log
    POST /sandbox/{sandboxIdOrName}/network-settings
    POST /sandbox/{sandboxIdOrName}/public/{isPublic}
    POST /sandbox/{sandboxIdOrName}/resize
    POST /sandbox/{sandboxIdOrName}/start
    POST /sandbox/{sandboxIdOrName}/stop
    POST /sandbox/{sandboxIdOrName}/ttl/{ttlMinutes}
    POST /sandbox/{sandboxId}/last-activity
    GET /sandbox/{sandboxId}/signing-key
    POST /sandbox/{sandboxId}/signing-key/rotate
    GET /sandbox/{sandboxId}/toolbox-proxy-url
    GET /snapshots
    GET /snapshots/{id}
    ");
}

#[tokio::test]
async fn a_key_describes_itself() {
    let server = Server::new().await;
    let key = server.ask("GET", "/api/api-keys/current", None).await;
    assert_eq!((key.status, key.json["name"].as_str()), (StatusCode::OK, Some("admin")), "{}", key.text);
    assert_eq!(key.json["permissions"].as_array().map(Vec::len), Some(21));
    assert!(!key.text.contains(server.rig.key.reveal()));

    let limited = Secret::generate("");
    let grant = Grant::Only(BTreeSet::from([Permission::WriteSandboxes]));
    server.rig.store.api_keys().insert(server.rig.organization, "ci", &limited, grant).await.expect("a key");
    let bearer = format!("Bearer {}", limited.reveal());
    let key = server.ask_with("GET", "/api/api-keys/current", None, &[("authorization", &bearer)]).await;
    assert_eq!((&key.json["name"], &key.json["permissions"]), (&json!("ci"), &json!(["write:sandboxes"])));
    assert_eq!(key.json["organizationId"], server.rig.organization.to_string());
    assert_eq!(server.ask_with("GET", "/api/api-keys/current", None, &[]).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn request_ids_are_ours() {
    let server = Server::new().await;
    for given in ["mine", &"A".repeat(10_000)] {
        let request = Request::builder().uri("/api/health").header("x-request-id", given).body(Body::empty());
        let answer = server.router.clone().oneshot(request.expect("a request")).await.expect("infallible");
        assert_eq!(answer.headers().get_all("x-request-id").iter().count(), 1);
        assert_eq!(answer.headers()["x-request-id"].len(), 36, "a UUID");
    }
}
