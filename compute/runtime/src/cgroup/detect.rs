//! Which cgroup version manages which controller.

use std::io;
use std::path::{Path, PathBuf};

/// A resource that we limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    Memory,
    Cpu,
    Pids,
}

impl Controller {
    pub const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    /// The kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }
}

/// Of the cgroup interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// One tree of cgroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub mount: PathBuf,
    pub version: Version,
    /// Those that we limit with it.
    pub controllers: Vec<Controller>,
}

pub(crate) fn hierarchies() -> io::Result<Vec<Hierarchy>> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    assign(&mounts, |mount| std::fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default())
}

/// `v2_controllers` answers the space-separated controllers of a v2 mount.
fn assign(mountinfo: &str, v2_controllers: impl Fn(&Path) -> String) -> io::Result<Vec<Hierarchy>> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for controller in Controller::ALL {
        let (mount, version) = find(mountinfo, controller, &v2_controllers).ok_or_else(|| {
            let name = controller.name();
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("no cgroup hierarchy has the {name} controller: mount one, or enable it in the kernel"),
            )
        })?;
        match found.iter_mut().find(|hierarchy| hierarchy.mount == mount) {
            Some(hierarchy) => hierarchy.controllers.push(controller),
            None => found.push(Hierarchy { mount, version, controllers: vec![controller] }),
        }
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
            "cgroup" => fields.nth(1)?.split(',').any(|o| o == controller.name()).then_some((mount, Version::V1)),
            "cgroup2" => v2_controllers(&mount)
                .split_ascii_whitespace()
                .any(|name| name == controller.name())
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
        let found = assign(HYBRID, |_| "pids hugetlb\n".into()).expect("all three");
        let summary: Vec<_> = found.iter().map(|h| (h.version, h.controllers.as_slice())).collect();
        assert_eq!(
            summary,
            [
                (Version::V1, [Controller::Memory].as_slice()),
                (Version::V1, [Controller::Cpu].as_slice()),
                (Version::V2, [Controller::Pids].as_slice()),
            ]
        );
    }

    #[test]
    fn pure_v2_is_one_hierarchy() {
        let found = assign("1 1 0:1 / /sys/fs/cgroup rw - cgroup2 c rw", |_| "cpu memory pids".into()).expect("all");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].controllers, Controller::ALL);
    }

    #[test]
    fn a_missing_controller_is_named() {
        let error = assign(HYBRID, |_| String::new()).expect_err("pids is missing");
        assert!(error.to_string().contains("pids"), "{error}");
    }
}
