//! `crun run` and `podman run` of the same root file system, as the measure beside our own creates.
//!
//! crun, which podman runs as well, refuses hosts with a hybrid cgroup hierarchy, so a child of ours in a mount namespace
//! of its own, where the unified hierarchy is unmounted, runs them on request: a name in, the microseconds it took out.
//! Both make the container, run `true` and delete it again; its network namespace is empty.

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

const FLAG: &str = "--serve-runtimes";

/// What runs containers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    Crun,
    Podman,
}

impl Runtime {
    fn name(self) -> &'static str {
        match self {
            Self::Crun => "crun",
            Self::Podman => "podman",
        }
    }

    /// One run of `true` in the bundle.
    fn command(self, bundle: &Path) -> Result<Command> {
        let mut command = Command::new(self.name());
        match self {
            Self::Crun => {
                command.args(["run", "--bundle"]).arg(bundle).arg(format!("sebring-bench-{}", std::process::id()));
            }
            Self::Podman => {
                let config: Value = serde_json::from_slice(&fs::read(bundle.join("config.json"))?)?;
                let rootfs = config["root"]["path"].as_str().context("a bundle without a root")?;
                // No systemd to make cgroups, no limits above our own; the files stay as they are under an overlay.
                command.args([
                    "--cgroup-manager=cgroupfs",
                    "run",
                    "--rm",
                    "--network=none",
                    "--ulimit=nofile=1024:1024",
                ]);
                command.args(["--ulimit=nproc=1024:1024", "--rootfs", &format!("{rootfs}:O"), "/bin/true"]);
            }
        }
        Ok(command)
    }
}

/// The child process.
pub struct Beside {
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

impl Beside {
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

    /// Whether podman is installed.
    pub fn has_podman() -> bool {
        let version = Command::new("podman").arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    }

    /// One container from nothing to nothing.
    pub async fn run(&mut self, runtime: Runtime) -> Result<Duration> {
        self.input.write_all(format!("{}\n", runtime.name()).as_bytes()).await?;
        let line = self.output.next_line().await?.context("the run failed; its error is above")?;
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

/// The child: runs what each line names, until there are no more.
pub fn serve(bundle: &Path) -> Result<()> {
    for line in stdin().lock().lines() {
        let runtime = if line? == Runtime::Podman.name() { Runtime::Podman } else { Runtime::Crun };
        let mut command = runtime.command(bundle)?;
        let began = Instant::now();
        let status = command.stdin(Stdio::null()).status()?;
        let spent = began.elapsed();
        if !status.success() {
            bail!("{} run ended with {status}", runtime.name());
        }
        writeln!(stdout(), "{}", spent.as_micros())?;
    }
    Ok(())
}
