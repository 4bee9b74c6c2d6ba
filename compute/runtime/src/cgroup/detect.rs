//! Which cgroup version manages which controller.

use std::io;
use std::path::{Path, PathBuf};

/// A resource that we limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    Memory,
    Cpu,
    Pids,
    /// Shares of the disks; only where a disk is shared out by weight ([`super::weights`]).
    Io,
}

impl Controller {
    pub(super) const NEEDED: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    /// The kernel's name.
    pub fn name(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Memory, _) => "memory",
            (Self::Cpu, _) => "cpu",
            (Self::Pids, _) => "pids",
            (Self::Io, Version::V1) => "blkio",
            (Self::Io, Version::V2) => "io",
        }
    }
}

/// Of the cgroup interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

impl Version {
    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// One tree of cgroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub mount: PathBuf,
    pub version: Version,
    /// Those that we limit with it.
    pub controllers: Vec<Controller>,
}

impl Hierarchy {
    /// What it is called inside a sandbox: a v1 tree by a controller of it.
    pub fn label(&self) -> &'static str {
        match (self.version, self.controllers.first()) {
            (Version::V1, Some(controller)) => controller.name(Version::V1),
            _ => "unified",
        }
    }
}

pub(crate) fn hierarchies() -> io::Result<Vec<Hierarchy>> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let controllers = |mount: &Path| std::fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    assign(&mounts, controllers, super::weights::are_heeded)
}

/// `v2_controllers` answers the space-separated controllers of a v2 mount; `weighs`, whether a tree shares a disk out.
fn assign(
    mountinfo: &str,
    v2_controllers: impl Fn(&Path) -> String,
    weighs: impl Fn(&Path, Version) -> bool,
) -> io::Result<Vec<Hierarchy>> {
    let mut found: Vec<Hierarchy> = Vec::new();
    let mut add = |controller, mount, version| match found.iter_mut().find(|hierarchy| hierarchy.mount == mount) {
        Some(hierarchy) => hierarchy.controllers.push(controller),
        None => found.push(Hierarchy { mount, version, controllers: vec![controller] }),
    };
    for controller in Controller::NEEDED {
        let (mount, version) = find(mountinfo, controller, &v2_controllers).ok_or_else(|| {
            let name = controller.name(Version::V2);
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("no cgroup hierarchy has the {name} controller: mount one, or enable it in the kernel"),
            )
        })?;
        add(controller, mount, version);
    }
    if let Some((mount, version)) = find(mountinfo, Controller::Io, &v2_controllers)
        && weighs(&mount, version)
    {
        add(Controller::Io, mount, version);
    }
    Ok(found)
}

fn find(
    mountinfo: &str,
    controller: Controller,
    v2_controllers: &impl Fn(&Path) -> String,
) -> Option<(PathBuf, Version)> {
    mountinfo.lines().find_map(|line| {
        // proc_pid_mountinfo(5): "... mount-point options [optional fields] - type source super-options"
        let (left, right) = line.split_once(" - ")?;
        let mount = PathBuf::from(left.split(' ').nth(4)?);
        let mut fields = right.split(' ');
        match fields.next()? {
            "cgroup" => {
                fields.nth(1)?.split(',').any(|o| o == controller.name(Version::V1)).then_some((mount, Version::V1))
            }
            "cgroup2" => v2_controllers(&mount)
                .split_ascii_whitespace()
                .any(|name| name == controller.name(Version::V2))
                .then_some((mount, Version::V2)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";

    #[test]
    fn a_mix_is_assigned_per_controller() {
        let found = assign(HYBRID, |_| "pids io hugetlb\n".into(), |_, _| true).expect("all three");
        let summary: Vec<_> = found.iter().map(|h| (h.label(), h.version, h.controllers.as_slice())).collect();
        assert_eq!(
            summary,
            [
                ("memory", Version::V1, [Controller::Memory].as_slice()),
                ("cpu", Version::V1, [Controller::Cpu].as_slice()),
                ("unified", Version::V2, [Controller::Pids, Controller::Io].as_slice()),
            ]
        );
    }

    #[test]
    fn weights_that_no_disk_heeds_are_not_set() {
        let found = assign(HYBRID, |_| "pids io".into(), |_, _| false).expect("all three");
        assert!(found.iter().all(|hierarchy| !hierarchy.controllers.contains(&Controller::Io)));
    }

    #[test]
    fn pure_v2_is_one_hierarchy() {
        let mounts = "1 1 0:1 / /sys/fs/cgroup rw - cgroup2 c rw";
        let found = assign(mounts, |_| "cpu memory pids".into(), |_, _| true).expect("all");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].controllers, Controller::NEEDED);
    }

    #[test]
    fn a_missing_controller_is_named() {
        let error = assign(HYBRID, |_| String::new(), |_, _| true).expect_err("pids is missing");
        assert!(error.to_string().contains("pids"), "{error}");
    }
}
