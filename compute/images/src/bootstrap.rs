//! Makes the default snapshot from Debian packages and npm packages, in phases that are kept when they are finished.
//!
//! The packages' own installation scripts run as root in a chroot, as they do on any Debian machine: Debian's
//! signatures are what vouches for them. npm's scripts don't run.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use jiff::Timestamp;
use sebring_types::{Resources, SnapshotId, SnapshotManifest};

use crate::error::{BootstrapError, StoreError};
use crate::progress::{Phase, Progress};
use crate::recipe;
use crate::step::Steps;
use crate::store::SnapshotStore;
use crate::{manifest, tree};

/// The unpacked image should stay below this, bytes.
const SIZE_GOAL: u64 = 1_100_000_000;
/// Programs of the host, and the Debian packages that have them.
const TOOLS: [(&str, &str); 4] =
    [("mmdebstrap", "mmdebstrap"), ("chroot", "coreutils"), ("setpriv", "util-linux"), ("unshare", "util-linux")];
/// Variables of the host that the build in the image sees: how to reach the network.
const PASSED: [&str; 9] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "npm_config_registry",
    "COREPACK_NPM_REGISTRY",
    "PIP_INDEX_URL",
];

/// What to make, and from where.
#[derive(Debug, Clone)]
pub struct BootstrapConfig {
    /// The server's data directory.
    pub data_dir: PathBuf,
    /// The snapshot's name, usually [`crate::DEFAULT_SNAPSHOT`].
    pub name: String,
    /// The URL of a Debian mirror; mmdebstrap's default when absent.
    pub mirror: Option<String>,
    /// Certificate authorities, PEM, trusted while building; nothing of it stays in the image.
    pub ca_bundle: Option<PathBuf>,
    /// Make it again although it is there.
    pub force: bool,
}

/// Makes the default snapshot, or answers the one that this recipe made before.
///
/// Blocks for a minute or two. Interrupted or failed, it goes on at the phase it was in when it is called again.
/// A snapshot of an older recipe stays, superseded, for the sandboxes that stand on it.
pub fn bootstrap(config: &BootstrapConfig, progress: &mut dyn Progress) -> Result<SnapshotManifest, BootstrapError> {
    let store = SnapshotStore::open(&config.data_dir)?;
    let fingerprint = recipe::fingerprint();
    if !config.force
        && let Some(found) = store.made_by(&config.name, &fingerprint)?
    {
        return Ok(found);
    }
    check_host(config)?;
    let lock = store.lock()?.ok_or_else(|| BootstrapError::Busy(store.dir().to_owned()))?;
    // Another process may have finished while this one looked.
    if !config.force
        && let Some(found) = store.made_by(&config.name, &fingerprint)?
    {
        return Ok(found);
    }
    let logs = config.data_dir.join("logs");
    let build = Build {
        config,
        dir: store.build_dir(&fingerprint),
        apt_cache: config.data_dir.join("cache/apt"),
        npm_cache: config.data_dir.join("cache/npm"),
    };
    for dir in [&build.dir, &build.apt_cache, &build.npm_cache, &logs] {
        fs::create_dir_all(dir).map_err(StoreError::io("can't make", dir))?;
    }
    let mut steps = Steps::new(logs.join("bootstrap.log"), lock, progress)?;
    build.phase(Phase::Packages, &mut steps, |steps| build.packages(steps))?;
    let npm: Vec<_> = recipe::entries(recipe::NPM).collect();
    for (phase, script, arguments) in [
        (Phase::Node, recipe::NODE, npm.as_slice()),
        (Phase::System, recipe::SYSTEM, &[]),
        (Phase::Check, recipe::CHECK, &[]),
    ] {
        build.phase(phase, &mut steps, |steps| build.enter(steps, phase, script, arguments))?;
    }
    build.publish(&store, &fingerprint, steps.progress())
}

/// Fails early on what can't be mended half way.
fn check_host(config: &BootstrapConfig) -> Result<(), BootstrapError> {
    if !rustix::process::geteuid().is_root() {
        return Err(BootstrapError::NotRoot);
    }
    recipe::debian_architecture(ARCH).ok_or(BootstrapError::Architecture(ARCH))?;
    for (tool, package) in TOOLS {
        let found = std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(tool).is_file()));
        if !found {
            return Err(BootstrapError::MissingTool { tool, package });
        }
    }
    if let Some(path) = &config.ca_bundle {
        fs::File::open(path).map_err(|source| BootstrapError::CaBundle { path: path.clone(), source })?;
    }
    Ok(())
}

/// A program of the host with mounts and processes of its own: both end with it, and it with this thread.
fn contained(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]);
    command.args(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", program]);
    command
}

/// One snapshot in the making.
struct Build<'a> {
    config: &'a BootstrapConfig,
    /// Holds `rootfs` and a mark for each finished phase.
    dir: PathBuf,
    apt_cache: PathBuf,
    npm_cache: PathBuf,
}

impl Build<'_> {
    fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Where it is written that a phase is finished.
    fn mark(&self, dir: &Path, phase: Phase) -> PathBuf {
        dir.join(format!("done-{phase}"))
    }

    /// Does the work of a phase unless it is finished, and marks it. Each phase copes with its own half-done work.
    fn phase(
        &self,
        phase: Phase,
        steps: &mut Steps<'_>,
        work: impl FnOnce(&mut Steps<'_>) -> Result<(), BootstrapError>,
    ) -> Result<(), BootstrapError> {
        let mark = self.mark(&self.dir, phase);
        if mark.exists() {
            steps.progress().phase(phase, true);
            return Ok(());
        }
        steps.progress().phase(phase, false);
        let started = Instant::now();
        work(steps)?;
        // The mark must not outlive the files that it speaks of.
        tree::sync(&self.dir)?;
        manifest::replace_file(&mark, b"")?;
        steps.progress().done(started.elapsed());
        Ok(())
    }

    /// Makes `rootfs` by mmdebstrap, from nothing but kept downloads.
    fn packages(&self, steps: &mut Steps<'_>) -> Result<(), BootstrapError> {
        let rootfs = self.rootfs();
        self.keep_downloads(&rootfs.join("var/cache/apt/archives"))?;
        tree::remove(&rootfs)?;
        let mut command = contained("mmdebstrap");
        command
            .env("LC_ALL", "C.UTF-8")
            .env("SEBRING_CACHE", &self.apt_cache)
            .args(["--verbose", "--mode=root", "--variant=apt", "--format=directory"])
            .arg(format!("--architectures={}", recipe::debian_architecture(ARCH).unwrap_or(ARCH)))
            .arg(format!("--include={}", recipe::entries(recipe::PACKAGES).collect::<Vec<_>>().join(",")))
            .args(["--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\""])
            .arg("--dpkgopt=force-unsafe-io")
            .args(recipe::entries(recipe::EXCLUDES).map(|path| match path.strip_prefix('!') {
                Some(path) => format!("--dpkgopt=path-include={path}"),
                None => format!("--dpkgopt=path-exclude={path}"),
            }))
            // Downloads come from, stay over an interruption in, and go to the cache.
            .args(["--skip=download/empty", "--skip=essential/unlink"])
            .arg(concat!(
                "--setup-hook=mkdir -p \"$1/var/cache/apt/archives\"; ",
                "find \"$SEBRING_CACHE\" -name '*.deb' -exec cp -lt \"$1/var/cache/apt/archives\" {} +",
            ))
            .arg("--customize-hook=chroot \"$1\" apt-get --quiet autoclean; rm -f \"$SEBRING_CACHE\"/*.deb")
            .arg(
                "--customize-hook=find \"$1/var/cache/apt/archives\" -name '*.deb' -exec mv -t \"$SEBRING_CACHE\" {} +",
            )
            .arg(recipe::SUITE)
            .arg(&rootfs)
            .args(&self.config.mirror);
        steps.run(Phase::Packages, "mmdebstrap", command)
    }

    /// Saves what an interrupted attempt has downloaded whole.
    fn keep_downloads(&self, archives: &Path) -> Result<(), StoreError> {
        let Ok(entries) = fs::read_dir(archives) else { return Ok(()) };
        for entry in entries {
            let from = entry.map_err(StoreError::io("can't list", archives))?.path();
            if let Some(name) = from.file_name().filter(|_| from.extension() == Some(OsStr::new("deb"))) {
                fs::rename(&from, self.apt_cache.join(name)).map_err(StoreError::io("can't keep", &from))?;
            }
        }
        Ok(())
    }

    /// Runs a script of the recipe inside the image.
    fn enter(
        &self,
        steps: &mut Steps<'_>,
        phase: Phase,
        script: &str,
        arguments: &[&str],
    ) -> Result<(), BootstrapError> {
        let mut command = contained("/bin/sh");
        command
            .env_clear()
            .envs(PASSED.iter().filter_map(|&name| Some((name, std::env::var_os(name)?))))
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive");
        if let (Some(registry), None) =
            (std::env::var_os("npm_config_registry"), std::env::var_os("COREPACK_NPM_REGISTRY"))
        {
            command.env("COREPACK_NPM_REGISTRY", registry);
        }
        command
            .args(["-c", recipe::ENTER, "enter.sh"])
            .arg(self.rootfs())
            .arg(&self.npm_cache)
            .arg(self.config.ca_bundle.as_deref().unwrap_or(Path::new("")))
            .arg(script)
            .args(arguments);
        steps.run(phase, &format!("{phase}.sh"), command)
    }

    /// Shows the finished image in the store.
    fn publish(
        &self,
        store: &SnapshotStore,
        fingerprint: &str,
        progress: &mut dyn Progress,
    ) -> Result<SnapshotManifest, BootstrapError> {
        progress.phase(Phase::Publish, false);
        let started = Instant::now();
        // A sandbox has its own.
        tree::clear(&self.rootfs().join("dev"))?;
        let usage = store.usage_of(&self.rootfs())?;
        if usage.content > SIZE_GOAL {
            progress.note(&format!("note: the image takes {} MB, more than intended", usage.content / 1_000_000));
        }
        let manifest = SnapshotManifest {
            id: SnapshotId::generate(),
            name: self.config.name.clone(),
            size: usage.content,
            created_at: Timestamp::now(),
            entrypoint: Vec::new(),
            env: BTreeMap::from([
                ("LANG".to_owned(), "C.UTF-8".to_owned()),
                (
                    "PATH".to_owned(),
                    "/home/daytona/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
                ),
            ]),
            user: "daytona".to_owned(),
            work_dir: Some("/home/daytona".to_owned()),
            architecture: ARCH.to_owned(),
            resources: Resources::default(),
            isolation: None,
        };
        let published = store.publish(&self.dir, fingerprint, &manifest)?;
        for phase in Phase::ALL {
            let _ = fs::remove_file(self.mark(&published, phase));
        }
        progress.done(started.elapsed());
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails the test when a bootstrap does any work.
    struct Idle;

    impl Progress for Idle {
        fn phase(&mut self, phase: Phase, _: bool) {
            panic!("{phase} began");
        }

        fn line(&mut self, _: &str) {}

        fn done(&mut self, _: std::time::Duration) {}

        fn note(&mut self, _: &str) {}
    }

    #[test]
    fn answers_what_the_same_recipe_made_before() {
        let data = tempfile::tempdir().expect("a directory");
        let config = BootstrapConfig {
            data_dir: data.path().to_owned(),
            name: "a".to_owned(),
            mirror: None,
            ca_bundle: None,
            force: false,
        };
        let store = SnapshotStore::open(data.path()).expect("a store");
        let fingerprint = recipe::fingerprint();
        let dir = store.build_dir(&fingerprint);
        fs::create_dir_all(dir.join("rootfs/dev/pts")).expect("a build");
        fs::write(dir.join("done-check"), "").expect("a mark");
        let build = Build { config: &config, dir, apt_cache: PathBuf::new(), npm_cache: PathBuf::new() };
        let made = build.publish(&store, &fingerprint, &mut crate::Console::new()).expect("published");

        assert_eq!(bootstrap(&config, &mut Idle).expect("a snapshot"), made);
        let folder = store.rootfs(made.id).join("..");
        assert!(!folder.join("done-check").exists());
        assert_eq!(fs::read_dir(folder.join("rootfs/dev")).expect("a directory").count(), 0);
    }
}
