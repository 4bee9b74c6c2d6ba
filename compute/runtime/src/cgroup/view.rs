//! What a sandbox sees of its limits at `/sys/fs/cgroup` where cgroup v1 manages some of them.
//!
//! Programs look for both versions, and find both: the sandbox's own v1 directories under the names of their controllers
//! (`memory/memory.limit_in_bytes`), read-only, and the files of v2 (`memory.max`, `memory.current`) as links into them. The
//! values are the kernel's, so they are true at any time. Only `cpu.max`, which no file of v1 resembles, is text of ours:
//! it lies in a directory of the sandbox, and is written again when the sandbox is resized.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::Limits;
use super::detect::{Controller, Hierarchy, Version};
use crate::mounts;

/// Where the sandbox's own text is shown.
pub(crate) const OWN: &str = "limits";
/// Names of v2, and what v1 has for them.
const MEMORY: [(&str, &str); 5] = [
    ("memory.max", "memory.limit_in_bytes"),
    ("memory.current", "memory.usage_in_bytes"),
    ("memory.peak", "memory.max_usage_in_bytes"),
    ("memory.stat", "memory.stat"),
    // With other lines beside it, but `oom_kill` means the same.
    ("memory.events", "memory.oom_control"),
];
const PIDS: [(&str, &str); 2] = [("pids.max", "pids.max"), ("pids.current", "pids.current")];
const CPU: [(&str, &str); 1] = [("cpu.stat", "cpu.stat")];
const CPU_MAX: &str = "cpu.max";

/// Makes the part that all sandboxes share. A file system of its own, and one of this server only: a directory on disk
/// could not be made anew without taking it from those who have it.
pub(super) fn mount_shared(dir: &Path, hierarchies: &[Hierarchy]) -> io::Result<()> {
    let mount = mounts::new_filesystem(c"tmpfs", &[(c"source", "sebring-cgroup"), (c"mode", "0755")], 0)?;
    mounts::attach(mount.as_fd(), dir)?;
    write_shared(dir, hierarchies)
}

/// Links, and the directories that a sandbox's own groups are attached to.
fn write_shared(dir: &Path, hierarchies: &[Hierarchy]) -> io::Result<()> {
    fs::create_dir(dir.join(OWN))?;
    // For whoever runs containers inside: engines look for this one and refuse to start without it, so root inside attaches it.
    fs::create_dir(dir.join("devices"))?;
    fs::write(dir.join("cgroup.controllers"), "cpu memory pids\n")?;
    fs::write(dir.join("memory.swap.max"), "0\n")?;
    for hierarchy in hierarchies {
        let label = hierarchy.label();
        fs::create_dir(dir.join(label))?;
        if hierarchy.controllers.contains(&Controller::Cpu) {
            let place = if hierarchy.version == Version::V1 { OWN } else { label };
            symlink(format!("{place}/{CPU_MAX}"), dir.join(CPU_MAX))?;
        }
        for controller in &hierarchy.controllers {
            let name = controller.name(hierarchy.version);
            if hierarchy.version == Version::V1 && name != label {
                symlink(label, dir.join(name))?;
            }
            let files: &[(&str, &str)] = match controller {
                Controller::Memory => &MEMORY,
                Controller::Pids => &PIDS,
                Controller::Cpu => &CPU,
                Controller::Io => &[],
            };
            for (v2, v1) in files {
                let target = if hierarchy.version == Version::V1 { v1 } else { v2 };
                symlink(format!("{label}/{target}"), dir.join(v2))?;
            }
        }
    }
    Ok(())
}

/// Writes the part of one sandbox.
pub(super) fn write_own(dir: &Path, limits: &Limits) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let (path, text) = (dir.join(CPU_MAX), limits.cpu_max() + "\n");
    // A directory that is used again has most often the right text.
    if fs::read_to_string(&path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_versions_lead_to_the_same_files() {
        let dir = tempfile::tempdir().expect("a directory");
        let hierarchy = |controllers: &[Controller], version| Hierarchy {
            mount: "/anywhere".into(),
            version,
            controllers: controllers.to_vec(),
        };
        let hierarchies = [
            hierarchy(&[Controller::Memory], Version::V1),
            hierarchy(&[Controller::Cpu, Controller::Io], Version::V1),
            hierarchy(&[Controller::Pids], Version::V2),
        ];
        write_shared(dir.path(), &hierarchies).expect("the shared part");
        let link = |name: &str| fs::read_link(dir.path().join(name)).expect(name).display().to_string();
        assert_eq!(link("memory.max"), "memory/memory.limit_in_bytes");
        assert_eq!(link("pids.max"), "unified/pids.max");
        assert_eq!(link("blkio"), "cpu");
        assert_eq!(link("cpu.max"), "limits/cpu.max");
        let limits = Limits { memory: 1 << 30, milli_cpus: 1500, pids: 10 };
        write_own(&dir.path().join(OWN), &limits).expect("the own part");
        assert_eq!(fs::read_to_string(dir.path().join("cpu.max")).expect("cpu.max"), "150000 100000\n");
    }
}
