//! `crun run` of the same root file system, as the measure beside our own creates.
//!
//! crun refuses hosts with a hybrid cgroup hierarchy, so a child of ours in a mount namespace of its own, where the
//! unified hierarchy is unmounted, runs it on request: one line in, the microseconds it took out. `crun run` makes
//! the container, runs `true` and deletes it again; its network namespace is empty.

use std::env;
use std::fs;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

const FLAG: &str = "--serve-crun";

/// The child process.
pub struct Crun {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _bundle: Bundle,
}

/// A directory with a `config.json`, removed at the end.
struct Bundle(PathBuf);

impl Drop for Bundle {
    fn drop(&mut self) {
        // Only a leftover in the temporary directory if this fails.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Crun {
    pub fn spawn(rootfs: &Path) -> Result<Self> {
        let bundle = Bundle(env::temp_dir().join(format!("sebring-bench-{}", std::process::id())));
        write_bundle(&bundle.0, rootfs)?;
        let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$0\" \"$@\"";
        let mut child = tokio::process::Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .arg(env::current_exe()?)
            .arg(FLAG)
            .arg(&bundle.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare can't be run")?;
        let input = child.stdin.take().context("no pipe to the child")?;
        let output = BufReader::new(child.stdout.take().context("no pipe from the child")?).lines();
        Ok(Self { _child: child, input, output, _bundle: bundle })
    }

    /// One container from nothing to nothing.
    pub async fn run(&mut self) -> Result<Duration> {
        self.input.write_all(b"\n").await?;
        let line = self.output.next_line().await?.context("crun failed; its error is above")?;
        Ok(Duration::from_micros(line.parse()?))
    }
}

fn write_bundle(bundle: &Path, rootfs: &Path) -> Result<()> {
    fs::create_dir_all(bundle)?;
    if !Command::new("crun").arg("spec").current_dir(bundle).status().context("crun can't be run")?.success() {
        bail!("crun spec failed");
    }
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/true"]);
    let rootfs = rootfs.canonicalize().with_context(|| format!("no root file system at {}", rootfs.display()))?;
    config["root"] = json!({ "path": rootfs, "readonly": true });
    fs::write(path, serde_json::to_vec(&config)?)?;
    Ok(())
}

/// The bundle, when this process is the child.
pub fn asked_to_run() -> Option<PathBuf> {
    let mut arguments = env::args_os().skip(1);
    (arguments.next()? == FLAG).then(|| arguments.next())?.map(PathBuf::from)
}

/// The child: runs crun once for each line, until there are no more.
pub fn serve(bundle: &Path) -> Result<()> {
    for line in stdin().lock().lines() {
        line?;
        let began = Instant::now();
        let status = Command::new("crun")
            .args(["run", "--bundle"])
            .arg(bundle)
            .arg(format!("sebring-bench-{}", std::process::id()))
            .stdin(Stdio::null())
            .status()?;
        let spent = began.elapsed();
        if !status.success() {
            bail!("crun run ended with {status}");
        }
        writeln!(stdout(), "{}", spent.as_micros())?;
    }
    Ok(())
}
