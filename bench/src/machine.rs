//! What the figures were taken on.

use std::fs;

use anyhow::Result;
use serde_json::{Value, json};

pub fn describe() -> Result<Value> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let field = |text: &str, name: &str| -> Option<String> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    Ok(json!({
        "date": jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        "cpu": field(&cpuinfo, "model name"),
        "cores": cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
        "memory": field(&fs::read_to_string("/proc/meminfo")?, "MemTotal"),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
    }))
}
