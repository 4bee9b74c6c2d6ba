//! Giving controllers down the tree of cgroup v2, from its root to the groups of sandboxes.

use std::fs;
use std::io;
use std::path::Path;

use super::detect::{Hierarchy, Version};
use super::limits::write;
use crate::error::{Context, RuntimeError};

/// Where processes go that are in the way.
const ASIDE: &str = "init";
/// Processes may start others while they are moved.
const ROUNDS: usize = 16;

/// Lets the groups in `root`, and those on the way to it, have the controllers that we limit with.
pub(super) fn delegate(hierarchy: &Hierarchy, root: &str) -> Result<(), RuntimeError> {
    let names = hierarchy.controllers.iter().map(|controller| format!("+{}", controller.name(Version::V2)));
    let names = names.collect::<Vec<_>>().join(" ");
    let mut dir = hierarchy.mount.clone();
    let step = |dir: &Path| format!("delegation of controllers in {}", dir.display());
    enable(&dir, &names).step(step(&dir))?;
    for part in Path::new(root) {
        dir.push(part);
        enable(&dir, &names).step(step(&dir))?;
    }
    Ok(())
}

fn enable(dir: &Path, names: &str) -> io::Result<()> {
    match write(dir, "cgroup.subtree_control", names) {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            move_aside(dir)?;
            write(dir, "cgroup.subtree_control", names)
        }
        other => other,
    }
}

/// A group whose children have controllers may hold no process of its own, unless it is the root of the whole tree
/// (admin-guide/cgroup-v2.rst, "No Internal Process Constraint"). In a container the root that we see is a group like any
/// other, and the server's own processes are in it.
fn move_aside(dir: &Path) -> io::Result<()> {
    let aside = dir.join(ASIDE);
    fs::create_dir_all(&aside)?;
    for _ in 0..ROUNDS {
        let processes = fs::read_to_string(dir.join("cgroup.procs"))?;
        if processes.is_empty() {
            break;
        }
        for pid in processes.lines() {
            match write(&aside, "cgroup.procs", pid) {
                // It has ended.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                other => other?,
            }
        }
    }
    tracing::info!(from = %dir.display(), to = %aside.display(), "processes moved so that sandboxes can have limits");
    Ok(())
}
