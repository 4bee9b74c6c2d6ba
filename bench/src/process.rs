//! Commands in a running sandbox, through the server.

use std::time::Instant;

use anyhow::{Result, ensure};
use hyper::Method;
use serde_json::{Map, Value, json};

use crate::connection::Target;
use crate::figures::Figures;
use crate::sandbox;

/// Route, what is run, and its name in the results.
fn commands() -> [(&'static str, &'static str, Value); 4] {
    [
        ("execute_true", "/process/execute", json!({ "command": "true" })),
        ("execute_bin_true", "/process/execute", json!({ "command": "/bin/true" })),
        ("code_run_python", "/process/code-run", json!({ "code": "print(1)", "language": "python" })),
        ("code_run_javascript", "/process/code-run", json!({ "code": "console.log(1)", "language": "javascript" })),
    ]
}

pub async fn execute(target: &Target, turns: usize) -> Result<Value> {
    let mut connection = target.connect().await?;
    let (id, _) = sandbox::make(&mut connection).await?;
    let mut results = Map::new();
    for (name, route, body) in commands() {
        let body = body.to_string();
        let turns = if route.ends_with("execute") { turns } else { turns / 4 };
        let mut figures = Figures::default();
        for turn in 0..turns + 5 {
            let began = Instant::now();
            let answer = connection.toolbox(&id, Method::POST, route, &body).await?;
            let spent = began.elapsed();
            ensure!(answer["exitCode"] == 0, "{name} answered {answer}");
            if turn >= 5 {
                figures.add(spent);
            }
        }
        results.insert(name.into(), figures.summary());
    }
    sandbox::remove(&mut connection, &id).await?;
    Ok(Value::Object(results))
}
