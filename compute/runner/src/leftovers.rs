//! What is there although no record speaks of it, or only one that says it was not finished.
//!
//! The start of a server removes what a crash can have left; `sebring runner gc` ([`crate::gc`]) shows and removes that
//! and more. Both hold the lock of the data directory: nothing of it is in the making.

use std::fmt;
use std::time::Duration;

use sebring_fault::{Point, point};
use sebring_network::{Claim, elements};
use sebring_runtime::cgroup::Cgroups;
use sebring_runtime::disk::{Disks, Template};
use sebring_runtime::{Context, link, tree};
use sebring_types::SandboxId;
use serde::Serialize;

use crate::config::Layout;
use crate::host::HostError;
use crate::spares;
use crate::survey::Survey;

/// The order is that of removal: what holds others comes first, and a sandbox's directory, which tells of the rest, after
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Processes end with it.
    Cgroup,
    Interface,
    /// An element of a set of packet rules.
    Rule,
    Disk,
    Sandbox,
    Template,
    Agent,
    Layer,
}

const STEP: &str = "removal of a leftover";

/// One thing that nobody owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    pub kind: Kind,
    pub name: String,
    /// Why it is one.
    pub reason: String,
}

impl Leftover {
    pub(crate) fn new(kind: Kind, name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { kind, name: name.into(), reason: reason.into() }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cgroup => "cgroup",
            Self::Interface => "interface",
            Self::Rule => "rule",
            Self::Disk => "disk",
            Self::Sandbox => "sandbox",
            Self::Template => "template",
            Self::Agent => "agent",
            Self::Layer => "layer",
        })
    }
}

/// Where leftovers are looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub layout: &'a Layout,
    /// None: no server ever ran here, or the host was started anew.
    pub claim: Option<Claim>,
    pub cgroups: Option<&'a Cgroups>,
    pub disks: Option<&'a Disks>,
}

impl Ground<'_> {
    /// What a server that was killed can have left, in the order of removal.
    pub fn after_a_crash(&self, survey: &Survey) -> Result<Vec<Leftover>, HostError> {
        let mut found = Vec::new();
        if let Some(cgroups) = self.cgroups {
            let names = cgroups.list().step("list of cgroups")?;
            let left = names.into_iter().filter(|name| !survey.owns_cgroup(name));
            found.extend(left.map(|name| Leftover::new(Kind::Cgroup, name, "no sandbox runs in it")));
        }
        if let Some(disks) = self.disks {
            for name in disks.list().step("list of disks")? {
                let reason = match name.parse::<SandboxId>() {
                    Ok(id) if survey.owns(id) => continue,
                    Ok(_) => "its sandbox is gone or was never finished",
                    Err(_) if name.starts_with(spares::PREFIX) => "prepared by a server that has ended",
                    // Nothing of ours.
                    Err(_) => continue,
                };
                found.push(Leftover::new(Kind::Disk, name, reason));
            }
            let templates = disks.templates().step("list of disk templates")?;
            let left = templates.into_iter().filter(|template| template.gib.is_none());
            found.extend(left.map(|left| Leftover::new(Kind::Template, left.name, "its making was interrupted")));
        }
        let half_made = survey.half_made.iter();
        found.extend(half_made.map(|(id, reason)| Leftover::new(Kind::Sandbox, id.to_string(), *reason)));
        found.sort_by_key(|leftover| leftover.kind);
        Ok(found)
    }

    /// Removes one; it may be gone already.
    pub fn remove(&self, leftover: &Leftover) -> Result<(), HostError> {
        let name = &leftover.name;
        match (leftover.kind, self) {
            (Kind::Cgroup, Self { cgroups: Some(cgroups), .. }) => {
                clear_cgroup(cgroups, name)?;
                point(Point::AdoptCleared);
            }
            (Kind::Disk, Self { disks: Some(disks), .. }) => {
                disks.remove(name)?;
                point(Point::AdoptDisk);
            }
            (Kind::Template, Self { disks: Some(disks), .. }) => {
                disks.remove_template(&Template::named(name.clone())).step("removal of a disk template")?;
            }
            (Kind::Interface, _) => link::remove(name)?,
            (Kind::Rule, Self { claim: Some(claim), .. }) => elements::remove(*claim, name)?,
            (Kind::Sandbox, _) => tree::remove(&self.layout.sandboxes().join(name)).step(STEP)?,
            (Kind::Agent, _) => tree::remove(&self.layout.agents().join(name)).step(STEP)?,
            (Kind::Layer, _) => tree::remove(&self.layout.layers().join(name)).step(STEP)?,
            // Found nowhere, so there is nothing to remove.
            (Kind::Cgroup | Kind::Disk | Kind::Template | Kind::Rule, _) => {}
        }
        Ok(())
    }
}

/// Ends everything in a cgroup and removes it.
fn clear_cgroup(cgroups: &Cgroups, name: &str) -> Result<(), HostError> {
    let cgroup = cgroups.at(name);
    // All of them first: one may wait for another that serves a file system.
    for process in cgroup.kill().step("end of the processes of a cgroup")? {
        process.wait().step("end of a process")?;
    }
    // The kernel lets go of it shortly after the last process ended, and says so to nobody on version 1.
    let mut pause = Duration::from_millis(1);
    while let Err(error) = cgroup.remove() {
        if pause > Duration::from_millis(500) {
            tracing::warn!(cgroup = name, %error, "cgroup not removed");
            break;
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    Ok(())
}
