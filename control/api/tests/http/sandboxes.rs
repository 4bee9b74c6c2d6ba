//! Sandboxes over HTTP: what the SDKs rely on.

use crate::server::Server;
use axum::http::StatusCode;
use serde_json::{Value, json};

/// What the Python SDK sends for `create()`.
const PLAIN: &str = r#"{"env":{},"labels":{"code-toolbox-language":"python"},"target":"us","volumes":[]}"#;

async fn create(server: &Server, body: Value) -> Value {
    let answer = server.ask("POST", "/api/sandbox", Some(&body.to_string())).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json
}

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("a list").iter().map(|item| item["name"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn created_sandbox_has_every_field() {
    let server = Server::new().await;
    let answer = server.ask("POST", "/api/sandbox", Some(PLAIN)).await;
    assert_eq!(answer.status, StatusCode::OK);
    let id = answer.json["id"].as_str().expect("an id");
    assert_eq!(answer.json["name"], id);
    insta::assert_json_snapshot!(answer.json, {
        ".id" => "id", ".name" => "id", ".organizationId" => "organization",
        ".createdAt" => "time", ".updatedAt" => "time", ".lastActivityAt" => "time",
    }, @r#"
    {
      "autoArchiveInterval": 10080,
      "autoDeleteInterval": -1,
      "autoPauseInterval": 0,
      "autoStopInterval": 15,
      "backupState": "None",
      "cpu": 1,
      "createdAt": "time",
      "desiredState": "started",
      "disk": 3,
      "env": {},
      "gpu": 0,
      "id": "id",
      "kvm": false,
      "labels": {
        "code-toolbox-language": "python"
      },
      "lastActivityAt": "time",
      "memory": 1,
      "name": "id",
      "networkBlockAll": false,
      "organizationId": "organization",
      "public": false,
      "recoverable": false,
      "sandboxClass": "container",
      "snapshot": "sebring",
      "spot": false,
      "state": "started",
      "target": "us",
      "toolboxProxyUrl": "http://box.example:3986/toolbox",
      "updatedAt": "time",
      "user": "daytona",
      "volumes": []
    }
    "#);
}

#[tokio::test]
async fn lives_from_create_to_delete() {
    let server = Server::new().await;
    create(&server, json!({"name": "box"})).await;
    for (method, path, state) in [
        ("GET", "/api/sandbox/box", "started"),
        ("POST", "/api/sandbox/box/stop?force=false", "stopped"),
        ("POST", "/api/sandbox/box/start", "started"),
        ("POST", "/api/sandbox/box/stop?force=true", "stopped"),
        ("DELETE", "/api/sandbox/box", "destroying"),
    ] {
        let answer = server.ask(method, path, None).await;
        assert_eq!(answer.status, StatusCode::OK, "{method} {path} {}", answer.text);
        assert_eq!(answer.json["state"], state, "{method} {path}");
    }
    let answer = server.ask("GET", "/api/sandbox/box", None).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    insta::assert_json_snapshot!(answer.json, { ".timestamp" => "time" }, @r#"
    {
      "error": "Not Found",
      "message": "sandbox with id or name box not found",
      "path": "/api/sandbox/box",
      "source": "DAYTONA_API",
      "statusCode": 404,
      "timestamp": "time"
    }
    "#);
}

#[tokio::test]
async fn settings_change_and_stay() {
    let server = Server::new().await;
    create(&server, json!({"name": "box"})).await;
    for (path, field, value) in [
        ("autostop/0", "autoStopInterval", json!(0)),
        ("autostop/1e+06", "autoStopInterval", json!(1_000_000)),
        ("autoarchive/60", "autoArchiveInterval", json!(60)),
        ("autodelete/-1", "autoDeleteInterval", json!(-1)),
        ("autodelete/90", "autoDeleteInterval", json!(90)),
        ("autopause/0", "autoPauseInterval", json!(0)),
        ("public/true", "public", json!(true)),
        ("ttl/0", "autoDestroyAt", Value::Null),
    ] {
        let answer = server.ask("POST", &format!("/api/sandbox/box/{path}"), None).await;
        assert_eq!((answer.status, &answer.json[field]), (StatusCode::OK, &value), "{path} {}", answer.text);
        assert_eq!(server.ask("GET", "/api/sandbox/box", None).await.json[field], value, "{path}");
    }
    let answer = server.ask("POST", "/api/sandbox/box/ttl/60", None).await;
    assert!(answer.json["autoDestroyAt"].is_string(), "{}", answer.text);
    let answer = server.ask("PUT", "/api/sandbox/box/labels", Some(r#"{"labels":{"a":"b"}}"#)).await;
    assert_eq!(answer.json, json!({"labels": {"a": "b"}}));
    for path in ["autostop/-1", "autostop/x", "autopause/5", "ttl/-1", "public/yes"] {
        let answer = server.ask("POST", &format!("/api/sandbox/box/{path}"), None).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {}", answer.text);
    }
    let answer = server.ask("POST", "/api/sandbox/box/last-activity", None).await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::CREATED, ""));
    let answer = server.ask("GET", "/api/sandbox/box/toolbox-proxy-url", None).await;
    assert_eq!(answer.json, json!({"url": "http://box.example:3986/toolbox"}));
    let key = server.ask("GET", "/api/sandbox/box/signing-key", None).await.text;
    let other = server.ask("POST", "/api/sandbox/box/signing-key/rotate", None).await.text;
    assert!(key.starts_with("sk_") && other.starts_with("sk_") && key != other);
}

#[tokio::test]
async fn lists_filter_order_and_page() {
    let server = Server::new().await;
    for (name, cpu, label) in [("alpha", 1, "x"), ("beta", 2, "y"), ("Alp%ine", 1, "x")] {
        let name = name.replace('%', "-");
        create(&server, json!({"name": name, "cpu": cpu, "labels": {"team": label, "a b": "c\"d"}})).await;
    }
    server.ask("POST", "/api/sandbox/beta/public/true", None).await;
    server.ask("POST", "/api/sandbox/alpha/stop?force=true", None).await;
    for (query, expected) in [
        ("", vec!["Alp-ine", "beta", "alpha"]),
        ("?order=asc", vec!["alpha", "beta", "Alp-ine"]),
        ("?sort=name&order=asc", vec!["Alp-ine", "alpha", "beta"]),
        ("?sort=cpu&order=desc&limit=1", vec!["beta"]),
        ("?name=ALP&order=asc", vec!["alpha", "Alp-ine"]),
        ("?name=a_pha", vec![]),
        ("?labels=%7B%22team%22%3A%20%22x%22%7D", vec!["Alp-ine", "alpha"]),
        ("?labels=%7B%22a%20b%22%3A%22c%5C%22d%22%2C%22team%22%3A%22y%22%7D", vec!["beta"]),
        ("?states=stopped", vec!["alpha"]),
        ("?states=started&states=stopped&minCpu=2", vec!["beta"]),
        ("?maxCpu=1&isPublic=false", vec!["Alp-ine", "alpha"]),
        ("?isPublic=true", vec!["beta"]),
        ("?snapshots=sebring&snapshots=other&minMemoryGiB=1&maxDiskGiB=3", vec!["Alp-ine", "beta", "alpha"]),
        ("?snapshots=other", vec![]),
        ("?regionIds=mars", vec![]),
        ("?sandboxClasses=windows", vec![]),
        ("?sandboxClasses=container&minGpu=0", vec!["Alp-ine", "beta", "alpha"]),
        ("?createdAtAfter=2020-01-02T03:04:05.000000%2B0000", vec!["Alp-ine", "beta", "alpha"]),
        ("?createdAtBefore=2020-01-02T03:04:05", vec![]),
    ] {
        let answer = server.ask("GET", &format!("/api/sandbox{query}"), None).await;
        assert_eq!(answer.status, StatusCode::OK, "{query} {}", answer.text);
        assert_eq!(names(&answer.json), expected, "{query}");
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.ask("GET", &format!("/api/sandbox?limit=1&sort=name{cursor}"), None).await.json;
        seen.extend(names(&page).into_iter().map(str::to_owned));
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["beta", "alpha", "Alp-ine"]);
    for query in ["limit=0", "limit=201", "limit=x", "cursor=x", "labels=x", "states=x", "sort=x", "createdAtAfter=x"] {
        let answer = server.ask("GET", &format!("/api/sandbox?{query}"), None).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query} {}", answer.text);
    }
    let other_list = server.ask("GET", &format!("/api/sandbox?sort=cpu{cursor}"), None).await;
    assert_eq!(other_list.status, StatusCode::BAD_REQUEST, "a cursor of another order");
}

#[tokio::test]
async fn list_item_has_every_field() {
    let server = Server::new().await;
    create(&server, json!({"name": "box"})).await;
    let item = server.ask("GET", "/api/sandbox", None).await.json["items"][0].clone();
    let mut fields: Vec<_> = item.as_object().expect("an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(
        fields.join(" "),
        "autoArchiveInterval autoDeleteInterval autoPauseInterval autoStopInterval backupState cpu createdAt \
         desiredState disk gpu id labels lastActivityAt memory name networkBlockAll organizationId public recoverable \
         sandboxClass snapshot spot state target toolboxProxyUrl updatedAt user"
    );
}

#[tokio::test]
async fn linked_sandboxes_name_each_other() {
    let server = Server::new().await;
    let parent = create(&server, json!({"name": "box"})).await;
    assert!(parent.get("linkedSandboxId").is_none(), "{parent}");
    let child = create(&server, json!({"name": "part", "linkedSandbox": "box", "autoDeleteInterval": 0})).await;
    assert_eq!(child["linkedSandboxId"], parent["id"]);
    let both = server.ask("GET", "/api/sandbox", None).await;
    assert_eq!(names(&both.json).len(), 2);
    for (body, status, part) in [
        (json!({"linkedSandbox": "none", "autoDeleteInterval": 0}), 404, "sandbox with id or name none not found"),
        (json!({"linkedSandbox": "part", "autoDeleteInterval": 0}), 400, "is itself linked to another sandbox"),
        (json!({"linkedSandbox": "box"}), 400, "set autoDeleteInterval to 0"),
        (json!({"linkedSandbox": "box", "autoDeleteInterval": 5}), 400, "set autoDeleteInterval to 0"),
        (json!({"linkedSandbox": 1}), 400, "at linkedSandbox: invalid type: integer"),
    ] {
        let answer = server.ask("POST", "/api/sandbox", Some(&body.to_string())).await;
        assert_eq!(answer.status.as_u16(), status, "{body} {}", answer.text);
        assert!(answer.message().contains(part), "{body} {}", answer.message());
    }
    let answer = server.ask("POST", "/api/sandbox/part/autodelete/5", None).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
}

#[tokio::test]
async fn pages_have_numbers_too() {
    let server = Server::new().await;
    for name in ["c", "a", "b"] {
        create(&server, json!({"name": name, "labels": {"suite": "x"}})).await;
    }
    create(&server, json!({"name": "other"})).await;
    let labels = "labels=%7B%22suite%22%3A%22x%22%7D";
    for (query, expected, total, pages) in [
        (format!("?limit=2&sort=name&order=asc&{labels}"), vec!["a", "b"], 3, 2),
        (format!("?page=2.0&limit=2&sort=name&order=asc&{labels}"), vec!["c"], 3, 2),
        (format!("?page=3&limit=2&{labels}"), vec![], 3, 2),
        ("?name=o".to_owned(), vec!["other"], 1, 1),
        ("?name=none".to_owned(), vec![], 0, 0),
        (String::new(), vec!["other", "b", "a", "c"], 4, 1),
    ] {
        let answer = server.ask("GET", &format!("/api/sandbox/paginated{query}"), None).await;
        assert_eq!(answer.status, StatusCode::OK, "{query} {}", answer.text);
        assert_eq!(names(&answer.json), expected, "{query}");
        assert_eq!((&answer.json["total"], &answer.json["totalPages"]), (&json!(total), &json!(pages)), "{query}");
    }
    let full = server.ask("GET", "/api/sandbox/paginated?limit=1", None).await;
    assert_eq!((&full.json["page"], &full.json["items"][0]["env"]), (&json!(1), &json!({})));
    for sort in ["id", "state", "snapshot", "region", "updatedAt", "createdAt", "lastActivityAt"] {
        let answer = server.ask("GET", &format!("/api/sandbox/paginated?sort={sort}"), None).await;
        assert_eq!(names(&answer.json).len(), 4, "{sort} {}", answer.text);
    }
    for query in ["page=0", "page=x", "limit=0", "limit=201", "sort=cpu", "page=4294967295&limit=200", "labels=x"] {
        let answer = server.ask("GET", &format!("/api/sandbox/paginated?{query}"), None).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
}
