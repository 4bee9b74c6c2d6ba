//! One GiB up and down by the routes that the SDKs use, and what it costs the server and the agent in memory.

use std::fs;
use std::iter;
use std::time::Instant;

use anyhow::{Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::connection::{Connection, Target};
use crate::figures::round;
use crate::memory::{agent_pid, kib};
use crate::sandbox;

const CHUNK: usize = 1 << 18;
const SIZE: u64 = 1 << 30;

/// What a process uses before, to be compared with the most it used since.
struct Watch {
    pid: u32,
    before_kib: u64,
}

impl Watch {
    fn start(pid: u32) -> Result<Self> {
        // Resets the high-water mark (proc(5), clear_refs).
        fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
        Ok(Self { pid, before_kib: kib(pid, "status", "VmRSS:")? })
    }

    fn grown_mib(&self) -> Result<f64> {
        let most = kib(self.pid, "status", "VmHWM:")?;
        Ok(round(most.saturating_sub(self.before_kib) as f64 / 1024.0))
    }
}

pub async fn one_gib(target: &Target, server: u32) -> Result<Value> {
    let mut connection = target.connect().await?;
    let (id, _) = sandbox::make(&mut connection).await?;
    let agent = agent_pid(target, &id).await?;
    // Once small, so that code and pools are there.
    upload(&mut connection, &id, 1 << 20).await?;
    download(&mut connection, &id, 1 << 20).await?;

    let (on_server, in_agent) = (Watch::start(server)?, Watch::start(agent)?);
    let up = upload(&mut connection, &id, SIZE).await?;
    let up_memory = (on_server.grown_mib()?, in_agent.grown_mib()?);
    let (on_server, in_agent) = (Watch::start(server)?, Watch::start(agent)?);
    let down = download(&mut connection, &id, SIZE).await?;
    let down_memory = (on_server.grown_mib()?, in_agent.grown_mib()?);
    sandbox::remove(&mut connection, &id).await?;
    Ok(json!({
        "upload": { "mb_per_s": up, "server_grew_mib": up_memory.0, "agent_grew_mib": up_memory.1 },
        "download": { "mb_per_s": down, "server_grew_mib": down_memory.0, "agent_grew_mib": down_memory.1 },
    }))
}

/// Megabytes per second.
async fn upload(connection: &mut Connection, id: &str, size: u64) -> Result<f64> {
    let chunk = Bytes::from((0..CHUNK).map(|n| (n * 31 % 251) as u8).collect::<Vec<_>>());
    let head = "--XX\r\nContent-Disposition: form-data; name=\"files[0].path\"\r\n\r\nbench.bin\r\n\
                --XX\r\nContent-Disposition: form-data; name=\"files[0].file\"; filename=\"bench.bin\"\r\n\r\n";
    let chunks = iter::once(Bytes::from(head))
        .chain(iter::repeat_n(chunk, size as usize / CHUNK))
        .chain(iter::once(Bytes::from("\r\n--XX--\r\n")));
    let began = Instant::now();
    let path = format!("/toolbox/{id}/files/bulk-upload");
    connection.stream_up(&path, "multipart/form-data; boundary=XX", chunks).await?;
    Ok(rate(size, began))
}

async fn download(connection: &mut Connection, id: &str, size: u64) -> Result<f64> {
    let began = Instant::now();
    let path = format!("/toolbox/{id}/files/bulk-download");
    let received = connection.stream_down(&path, &json!({ "paths": ["bench.bin"] }).to_string()).await?;
    ensure!(received > size, "only {received} bytes of {size} came back");
    Ok(rate(size, began))
}

fn rate(size: u64, began: Instant) -> f64 {
    round(size as f64 / 1e6 / began.elapsed().as_secs_f64())
}
