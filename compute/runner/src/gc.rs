//! `sebring runner gc`: all that nobody owns, beyond what the start of a server removes by itself.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use sebring_images::SnapshotStore;
use sebring_network::elements;
use sebring_runtime::cgroup::Cgroups;
use sebring_runtime::disk::Disks;
use sebring_runtime::{Context, link, mounts};
use sebring_types::{Resources, SnapshotId};

use crate::config::RunnerConfig;
use crate::host::{self, HostError};
use crate::leftovers::{Ground, Kind, Leftover};
use crate::survey::Survey;

/// The kernel takes the interfaces of a server that ended down in the background, and says nothing when it has done so.
const INTERFACES_GOING: Duration = Duration::from_secs(2);

/// Finds what belongs to no sandbox of a data directory and, unless `dry_run`, removes it. `agent` is the program of
/// this version, which stays.
///
/// Takes the lock of the data directory, so that nothing of it is in the making: it fails while a server runs. Sandboxes
/// may run. Moves this thread into a mount namespace of its own, so it must be called before any other thread exists.
pub fn gc(mut config: RunnerConfig, agent: &[u8], dry_run: bool) -> Result<Vec<Leftover>, HostError> {
    config.layout.data_dir = host::canonical(&config.layout.data_dir)?;
    let data_dir = &config.layout.data_dir;
    let _lock = host::lock(&config)?;
    mounts::enter_private_namespace()?;
    let claim = sebring_network::Claim::find(data_dir);
    let cgroups = claim.map(|claim| Cgroups::open(&host::cgroup_root(claim))).transpose()?;
    // Opening them would make them.
    let has_disks = data_dir.join("pool.img").exists() || data_dir.join("disks").exists();
    let disks = has_disks.then(|| Disks::open(data_dir)).transpose()?;
    let ground = Ground { layout: &config.layout, claim, cgroups: cgroups.as_ref(), disks: disks.as_ref() };

    let survey = Survey::take(&config.layout)?;
    let mut found = ground.after_a_crash(&survey)?;
    found.extend(ground.network(&survey)?);
    found.extend(ground.templates(&survey)?);
    found.extend(ground.agents(&survey, agent)?);
    found.extend(ground.layers(&survey)?);
    found.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    if !dry_run {
        for leftover in &found {
            ground.remove(leftover)?;
        }
    }
    Ok(found)
}

impl Ground<'_> {
    /// Interfaces and packet rules of addresses that no running sandbox has.
    fn network(&self, survey: &Survey) -> Result<Vec<Leftover>, HostError> {
        let Some(claim) = self.claim else { return Ok(Vec::new()) };
        // Of every sandbox that may run, also of those whose records can't be read.
        let mut slots: HashSet<u16> = survey.kept.iter().filter_map(|kept| Some(kept.running.as_ref()?.1)).collect();
        if let Some(cgroups) = self.cgroups {
            let names = cgroups.list().step("list of cgroups")?;
            slots.extend(
                names.iter().filter(|name| survey.may_own(name)).filter_map(|name| crate::boot::cgroup_slot(name)),
            );
        }
        let prefix = claim.interface_prefix();
        let is_left = |name: &String| {
            name.strip_prefix(&prefix).and_then(|number| number.parse().ok()).is_some_and(|slot| !slots.contains(&slot))
        };
        let deadline = Instant::now() + INTERFACES_GOING;
        let interfaces = loop {
            let mut names = link::names().step("list of interfaces")?;
            names.retain(is_left);
            if names.is_empty() || Instant::now() > deadline {
                break names;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let live: HashSet<_> = slots.iter().map(|slot| claim.subnet.address(*slot)).collect();
        let rules = elements::list(claim)?.into_iter().filter(|element| !live.contains(&element.source));
        Ok(interfaces
            .into_iter()
            .map(|name| Leftover::new(Kind::Interface, name, "no running sandbox has it"))
            .chain(rules.map(|element| {
                let reason = format!("no running sandbox has the address {}", element.source);
                Leftover::new(Kind::Rule, element.name, reason)
            }))
            .collect())
    }

    /// Templates of sizes that nobody has; the default size is asked for all the time.
    fn templates(&self, survey: &Survey) -> Result<Vec<Leftover>, HostError> {
        let Some(disks) = self.disks else { return Ok(Vec::new()) };
        let unused = |gib: u32| gib != Resources::default().disk && !survey.has_disk_of(gib);
        let templates = disks.templates().step("list of disk templates")?;
        let left = templates.into_iter().filter(|template| template.gib.is_some_and(unused));
        Ok(left
            .map(|left| {
                Leftover::new(Kind::Template, left.name, "no sandbox has a disk of that size; made again for one")
            })
            .collect())
    }

    /// Programs of other versions that no sandbox runs.
    fn agents(&self, survey: &Survey, agent: &[u8]) -> Result<Vec<Leftover>, HostError> {
        let dir = self.layout.agents();
        // The file as its sandbox sees it is the same one.
        let running: HashSet<(u64, u64)> = survey
            .kept
            .iter()
            .filter_map(|kept| fs::metadata(format!("/proc/{}/exe", kept.running.as_ref()?.0.pid())).ok())
            .map(|meta| (meta.dev(), meta.ino()))
            .collect();
        // One of an unreadable record can't be told.
        if !dir.exists() || !survey.unreadable.is_empty() {
            return Ok(Vec::new());
        }
        let mut left = Vec::new();
        for name in entries(&dir)? {
            let program = dir.join(&name).join(host::AGENT);
            let used = fs::metadata(program).is_ok_and(|meta| running.contains(&(meta.dev(), meta.ino())));
            if name != host::agent_name(agent) && !used {
                left.push(Leftover::new(Kind::Agent, name, "another version's, and no sandbox runs it"));
            }
        }
        Ok(left)
    }

    /// Layers of certificates for snapshots that are gone, and half-made ones.
    fn layers(&self, survey: &Survey) -> Result<Vec<Leftover>, HostError> {
        let dir = self.layout.layers();
        if !dir.exists() {
            return Ok(Vec::new());
        }
        let store = SnapshotStore::open(&self.layout.snapshot_dir)?;
        let mut left = Vec::new();
        for bundle in entries(&dir)? {
            for name in entries(&dir.join(&bundle))? {
                let reason = match name.parse::<SnapshotId>() {
                    Ok(id) if survey.stands_on(id) || store.get(id).is_ok() => continue,
                    Ok(_) => "its snapshot is gone, and no sandbox stands on it",
                    Err(_) => "its making was interrupted",
                };
                left.push(Leftover::new(Kind::Layer, format!("{bundle}/{name}"), reason));
            }
        }
        Ok(left)
    }
}

fn entries(dir: &Path) -> Result<Vec<String>, HostError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).step("list of a directory")? {
        names.push(entry.step("list of a directory")?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}
