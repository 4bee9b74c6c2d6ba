//! `sebring doctor`: what this machine offers to sandboxes, what it lacks, what that costs and how to mend it.
//!
//! Where a thing can be tried it is tried, in scratch places that are gone afterwards: a kernel that has a feature may
//! still refuse it.

mod kernel;
mod storage;
mod tools;

use std::fmt::{self, Write};
use std::path::Path;

use serde::Serialize;

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// As it should be.
    Ok,
    /// Sandboxes run, with less: see the cost.
    Limited,
    /// No sandbox runs.
    Missing,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::Missing => "MISSING",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    state: State,
    /// What is there.
    found: String,
    /// What its lack costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<&'static str>,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<&'static str>,
}

impl Finding {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), cost: None, mend: None }
    }

    fn limited(name: &'static str, found: impl Into<String>, cost: &'static str, mend: &'static str) -> Self {
        Self { name, state: State::Limited, found: found.into(), cost: Some(cost), mend: Some(mend) }
    }

    fn missing(name: &'static str, found: impl Into<String>, mend: &'static str) -> Self {
        Self { name, state: State::Missing, found: found.into(), cost: Some("no sandbox can run"), mend: Some(mend) }
    }
}

/// All that was looked at.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether sandboxes can run here.
    ready: bool,
    findings: Vec<Finding>,
}

impl Report {
    fn new(data_dir: &Path) -> Self {
        let root = rustix::process::geteuid().is_root();
        let mut findings = kernel::look(root);
        findings.extend(storage::look(data_dir, root));
        findings.extend(tools::look(data_dir));
        Self { ready: findings.iter().all(|finding| finding.state != State::Missing), findings }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.findings.iter().map(|finding| finding.name.len()).max().unwrap_or_default();
        let indent = width + 11;
        for Finding { name, state, found, cost, mend } in &self.findings {
            writeln!(f, "{state:<9}{name:<width$}  {found}")?;
            if let Some(cost) = cost {
                writeln!(f, "{:indent$}costs: {cost}", "")?;
            }
            if let Some(mend) = mend {
                writeln!(f, "{:indent$}mend:  {mend}", "")?;
            }
        }
        f.write_char('\n')?;
        let count = |state| self.findings.iter().filter(|finding| finding.state == state).count();
        match (count(State::Missing), count(State::Limited)) {
            (0, 0) => writeln!(f, "sandboxes can run here, with everything"),
            (0, limited) => writeln!(f, "sandboxes can run here; limited: {limited}"),
            (missing, _) => writeln!(f, "sandboxes can't run here; missing: {missing}"),
        }
    }
}

/// Prints what the host offers to a server that keeps its data in `data_dir`, which need not exist.
///
/// # Errors
/// Something that sandboxes can't do without is missing.
pub fn run(data_dir: &Path, json: bool) -> anyhow::Result<()> {
    let report = Report::new(data_dir);
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    anyhow::ensure!(report.ready, "this machine is not ready: see above, or add what is missing with dev/up");
    Ok(())
}

/// The error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if !text.contains(&cause.to_string()) {
            let _ = write!(text, ": {cause}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_advice_and_as_json() {
        let report = Report {
            ready: false,
            findings: vec![
                Finding::ok("kernel", "Linux 6.1"),
                Finding::limited("kvm", "absent", "no virtual machines", "enable it"),
                Finding::missing("nftables", "not found", "install it"),
            ],
        };
        assert_eq!(
            report.to_string(),
            "ok       kernel    Linux 6.1\n\
             limited  kvm       absent\n                   costs: no virtual machines\n                   mend:  enable it\n\
             MISSING  nftables  not found\n                   costs: no sandbox can run\n                   mend:  install it\n\
             \nsandboxes can't run here; missing: 1\n"
        );
        let json = serde_json::to_value(&report).expect("json");
        assert_eq!(json["findings"][0], serde_json::json!({"name": "kernel", "state": "ok", "found": "Linux 6.1"}));
    }

    #[test]
    fn looks_without_leaving_anything_behind() {
        let dir = tempfile::tempdir().expect("a directory");
        let report = Report::new(&dir.path().join("not-there"));
        assert!(report.findings.len() >= 10);
        assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 0);
    }
}
