//! Memory of an agent, and of many idle sandboxes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use hyper::Method;
use serde_json::{Value, json};

use crate::connection::Target;
use crate::figures::round;
use crate::sandbox;

/// The host's pid of a sandbox's agent: pid 1 of the pid namespace that the sandbox shows.
pub async fn agent_pid(target: &Target, sandbox: &str) -> Result<u32> {
    let mut connection = target.connect().await?;
    let body = json!({ "command": "readlink /proc/self/ns/pid" }).to_string();
    let answer = connection.toolbox(sandbox, Method::POST, "/process/execute", &body).await?;
    let namespace = answer["result"].as_str().unwrap_or_default().trim().to_owned();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let path = entry.path();
        let inside = fs::read_link(path.join("ns/pid")).is_ok_and(|link| link.as_os_str() == namespace.as_str());
        if inside
            && field(&path.join("status"), "NSpid:").is_some_and(|pids| pids.split_whitespace().nth(1) == Some("1"))
        {
            return Ok(pid);
        }
    }
    anyhow::bail!("no process on this machine is pid 1 of {namespace}")
}

/// The rest of the line that begins with `name`.
fn field(path: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
}

/// A field of a file of `/proc/PID` in KiB.
pub fn kib(pid: u32, file: &str, name: &str) -> Result<u64> {
    let value = field(&Path::new("/proc").join(pid.to_string()).join(file), name)
        .with_context(|| format!("process {pid} shows no {name}"))?;
    Ok(value.trim_end_matches("kB").trim().parse()?)
}

/// Two sandboxes live, so that the agent's text counts as shared, as it is in real use.
pub async fn agent_and_idle(target: &Target, idle: usize) -> Result<Value> {
    let mut connection = target.connect().await?;
    let (first, _) = sandbox::make(&mut connection).await?;
    let (second, _) = sandbox::make(&mut connection).await?;
    let pid = agent_pid(target, &first).await?;
    agent_pid(target, &second).await?;
    let private = kib(pid, "smaps_rollup", "Private_Dirty:")? + kib(pid, "smaps_rollup", "Private_Clean:")?;
    let result = json!({
        "agent_private_kib": private,
        "agent_anonymous_kib": kib(pid, "smaps_rollup", "Anonymous:")?,
        "agent_rss_kib": kib(pid, "smaps_rollup", "Rss:")?,
        "idle": if idle > 0 { Some(hold(target, idle).await?) } else { None },
    });
    sandbox::remove(&mut connection, &first).await?;
    sandbox::remove(&mut connection, &second).await?;
    Ok(result)
}

/// Makes `count` sandboxes and takes the difference of the memory that is available.
async fn hold(target: &Target, count: usize) -> Result<Value> {
    let mut connection = target.connect().await?;
    let before = available_kib()?;
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        ids.push(sandbox::make(&mut connection).await?.0);
    }
    let after = available_kib()?;
    let mut last = crate::figures::Figures::default();
    for _ in 0..50 {
        let (id, spent) = sandbox::make(&mut connection).await?;
        last.add(spent);
        sandbox::remove(&mut connection, &id).await?;
    }
    for id in &ids {
        sandbox::remove(&mut connection, id).await?;
    }
    let each = (before as f64 - after as f64) / 1024.0 / count as f64;
    Ok(json!({ "count": count, "mib_each": round(each), "create_one_more": last.summary() }))
}

fn available_kib() -> Result<u64> {
    let value = field(Path::new("/proc/meminfo"), "MemAvailable:").context("no MemAvailable")?;
    Ok(value.trim_end_matches("kB").trim().parse()?)
}
