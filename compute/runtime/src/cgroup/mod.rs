//! Limits of a sandbox: memory, CPU time, number of processes and share of the disks, on cgroup v1, v2 or a mix of both.
//!
//! Which version manages a controller is found out per controller from `/proc/self/mountinfo`. A sandbox has one
//! directory per hierarchy: `<mount>/<root>/<sandbox>`, where `root` names this installation.

mod delegate;
mod detect;
mod limits;
mod memory;
mod view;
mod weights;

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

pub use detect::{Controller, Version};
pub use limits::Limits;
pub use memory::MemoryWatch;

use crate::error::{Context, RuntimeError};
use crate::process::Process;
use detect::Hierarchy;

/// Which version manages which controller of this host; makes nothing.
pub fn detect() -> io::Result<Vec<(Controller, Version)>> {
    let pairs = |h: Hierarchy| h.controllers.into_iter().map(move |controller| (controller, h.version));
    Ok(detect::hierarchies()?.into_iter().flat_map(pairs).collect())
}

/// Whether memory limits of this host count what is swapped out.
pub fn limits_swap() -> bool {
    let memory = |hierarchy: &Hierarchy| hierarchy.controllers.contains(&Controller::Memory);
    match detect::hierarchies().ok().and_then(|found| found.into_iter().find(memory)) {
        Some(Hierarchy { mount, version: Version::V1, .. }) => mount.join("memory.memsw.limit_in_bytes").exists(),
        // The root of the tree doesn't tell, but only this could turn it off.
        Some(_) => !std::fs::read_to_string("/proc/cmdline").unwrap_or_default().contains("swapaccount=0"),
        None => false,
    }
}

/// All hierarchies that hold a controller we need.
#[derive(Debug)]
pub struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    root: String,
}

impl Cgroups {
    /// Finds the controllers and makes our directory in each hierarchy.
    ///
    /// # Errors
    /// A controller is missing, or the hierarchy is not writable.
    pub fn open(root: &str) -> Result<Self, RuntimeError> {
        let hierarchies = detect::hierarchies().step("search for the cgroup controllers")?;
        let cgroups = Self { hierarchies, root: root.to_owned() };
        for hierarchy in &cgroups.hierarchies {
            let dir = hierarchy.mount.join(root);
            std::fs::create_dir_all(&dir).step(format!("creation of the cgroup {}", dir.display()))?;
            if hierarchy.version == Version::V2 {
                delegate::delegate(hierarchy, root)?;
            }
        }
        Ok(cgroups)
    }

    /// Which version manages which controller.
    pub fn versions(&self) -> impl Iterator<Item = (Controller, Version)> {
        self.hierarchies.iter().flat_map(|h| h.controllers.iter().map(|&controller| (controller, h.version)))
    }

    /// Makes what all sandboxes see at `/sys/fs/cgroup`; answers whether they need it, for on cgroup v2 alone each sees
    /// its own part of the tree. Must run in the server's own mount namespace; running sandboxes keep what they have.
    pub fn mount_view(&self, dir: &Path) -> Result<bool, RuntimeError> {
        let needed = self.hierarchies.iter().any(|hierarchy| hierarchy.version == Version::V1);
        if needed {
            view::mount_shared(dir, &self.hierarchies).step(format!("view of cgroups at {}", dir.display()))?;
        }
        Ok(needed)
    }

    /// Makes the directories of a sandbox with its limits set. On an error nothing is left.
    pub fn create(&self, name: &str, limits: &Limits) -> Result<Cgroup, RuntimeError> {
        let cgroup = self.at(name);
        let made = cgroup.paths.iter().try_for_each(|(hierarchy, path)| {
            match std::fs::create_dir(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }
            .step(format!("creation of the cgroup {}", path.display()))?;
            limits.apply(hierarchy, path)
        });
        match made {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                if let Err(left) = cgroup.remove() {
                    tracing::warn!(%left, "half-made cgroup not removed");
                }
                Err(error)
            }
        }
    }

    /// The directories of a sandbox, whether they exist or not.
    pub fn at(&self, name: &str) -> Cgroup {
        let paths = self
            .hierarchies
            .iter()
            .map(|hierarchy| (hierarchy.clone(), hierarchy.mount.join(&self.root).join(name)))
            .collect();
        Cgroup { paths }
    }

    /// The names of all sandboxes that have a directory in any hierarchy.
    pub fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for hierarchy in &self.hierarchies {
            for entry in std::fs::read_dir(hierarchy.mount.join(&self.root))? {
                let entry = entry?;
                if entry.file_type()?.is_dir()
                    && let Ok(name) = entry.file_name().into_string()
                    && !names.contains(&name)
                {
                    names.push(name);
                }
            }
        }
        Ok(names)
    }

    /// Removes our own directories, which must be empty, and those above that no other installation uses.
    pub fn remove_root(&self) -> io::Result<()> {
        for hierarchy in &self.hierarchies {
            remove_dir(&hierarchy.mount.join(&self.root))?;
            for above in Path::new(&self.root).ancestors().skip(1).filter(|above| *above != Path::new("")) {
                // Not what is in it: that is another installation's, which may have no sandbox now.
                match std::fs::remove_dir(hierarchy.mount.join(above)) {
                    Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOTEMPTY)) => break,
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Groups that root inside may make. Each costs the kernel memory.
const MAX_GROUPS_INSIDE: &str = "1024";

/// One sandbox's directories.
#[derive(Debug)]
pub struct Cgroup {
    paths: Vec<(Hierarchy, PathBuf)>,
}

/// How a child gets into a [`Cgroup`].
#[derive(Debug)]
pub(crate) struct Entrance {
    /// `cgroup.procs` files; the child writes `0` to each.
    pub procs: Vec<File>,
    /// The directory that the child is cloned into (v2), which is free of the wait that a write costs.
    pub directory: Option<OwnedFd>,
}

impl Cgroup {
    pub(crate) fn entrance(&self) -> Result<Entrance, RuntimeError> {
        let mut entrance = Entrance { procs: Vec::new(), directory: None };
        for (hierarchy, path) in &self.paths {
            match hierarchy.version {
                Version::V1 => {
                    let file = OpenOptions::new().write(true).open(path.join("cgroup.procs"));
                    entrance.procs.push(file.step("entrance of the cgroup")?);
                }
                Version::V2 => {
                    let dir = File::open(path).step("entrance of the cgroup")?;
                    entrance.directory = Some(dir.into());
                }
            }
        }
        Ok(entrance)
    }

    /// Changes the limits of a running sandbox.
    pub fn set(&self, limits: &Limits) -> Result<(), RuntimeError> {
        self.paths.iter().try_for_each(|(hierarchy, path)| limits.change(hierarchy, path))
    }

    /// How often the kernel killed a process of the sandbox for lack of memory.
    pub fn oom_kills(&self) -> u64 {
        self.memory().and_then(|(hierarchy, path)| memory::kills(path, hierarchy.version).ok()).unwrap_or(0)
    }

    /// Tells from now on when the sandbox runs out of memory. Needs a Tokio runtime.
    pub fn watch_memory(&self) -> io::Result<MemoryWatch> {
        let (hierarchy, path) = self.memory().ok_or(io::ErrorKind::NotFound)?;
        MemoryWatch::new(path, hierarchy.version)
    }

    fn memory(&self) -> Option<&(Hierarchy, PathBuf)> {
        self.paths.iter().find(|(hierarchy, _)| hierarchy.controllers.contains(&Controller::Memory))
    }

    /// Writes the sandbox's own part of what it sees of its limits, where the kernel's files alone do not show them.
    pub fn write_view(&self, dir: &Path, limits: &Limits) -> io::Result<()> {
        if self.has_v1() { view::write_own(dir, limits) } else { Ok(()) }
    }

    fn has_v1(&self) -> bool {
        self.paths.iter().any(|(hierarchy, _)| hierarchy.version == Version::V1)
    }

    /// What goes on top of the shared view ([`Cgroups::mount_view`]): the directory that [`Self::write_view`] wrote, and
    /// the sandbox's own groups. Empty where the sandbox sees its part of the v2 tree.
    pub(crate) fn view(&self, own: &Path) -> Vec<(CString, PathBuf)> {
        if !self.has_v1() {
            return Vec::new();
        }
        let groups = self.paths.iter().map(|(hierarchy, path)| (hierarchy.label(), path.clone()));
        [(view::OWN, own.to_owned())]
            .into_iter()
            .chain(groups)
            .filter_map(|(label, path)| Some((CString::new(format!("sys/fs/cgroup/{label}")).ok()?, path)))
            .collect()
    }

    /// Lets `owner` make groups below the sandbox's own, for containers inside (v2: version 1 is not safe to give away). The
    /// files of the limits stay ours; what is given is what admin-guide/cgroup-v2.rst, "Model of Delegation", names.
    pub fn give_to(&self, owner: u32) -> Result<(), RuntimeError> {
        let step = "cgroup for containers inside";
        for (_, path) in self.paths.iter().filter(|(hierarchy, _)| hierarchy.version == Version::V2) {
            std::fs::write(path.join("cgroup.max.descendants"), MAX_GROUPS_INSIDE).step(step)?;
            std::os::unix::fs::chown(path, Some(owner), Some(owner)).step(step)?;
            for file in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
                std::os::unix::fs::chown(path.join(file), Some(owner), Some(owner)).step(step)?;
            }
        }
        Ok(())
    }

    /// Every process in the sandbox, as pids of ours.
    pub fn processes(&self) -> io::Result<Vec<i32>> {
        let mut found = Vec::new();
        if let Some((_, path)) = self.paths.first() {
            add_processes(path, &mut found)?;
        }
        Ok(found)
    }

    /// Kills every process in it that has not ended, and answers those.
    pub fn kill(&self) -> io::Result<Vec<Process>> {
        let mut killed = Vec::new();
        for pid in self.processes()? {
            if let Some(process) = Process::open(pid)? {
                process.signal(rustix::process::Signal::KILL)?;
                killed.push(process);
            }
        }
        Ok(killed)
    }

    /// Removes the directories, with those that containers inside left; what is gone already counts as removed.
    ///
    /// # Errors
    /// `EBUSY` while a process is still in it: the kernel lets go of one shortly after it was reaped.
    pub fn remove(&self) -> io::Result<()> {
        self.paths.iter().try_for_each(|(_, path)| remove_dir(path))
    }
}

/// Those of a group, then those of the groups in it.
fn add_processes(path: &Path, found: &mut Vec<i32>) -> io::Result<()> {
    match std::fs::read_to_string(path.join("cgroup.procs")) {
        Ok(text) => found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        // Gone, or one of threads, whose processes are listed above it.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => return Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
        Err(error) => return Err(error),
    }
    groups_in(path)?.iter().try_for_each(|group| add_processes(group, found))
}

fn groups_in(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut groups = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            groups.push(entry.path());
        }
    }
    Ok(groups)
}

fn remove_dir(path: &Path) -> io::Result<()> {
    let mut removed = std::fs::remove_dir(path);
    if let Err(error) = &removed
        && matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOTEMPTY))
    {
        let groups = groups_in(path)?;
        groups.iter().try_for_each(|group| remove_dir(group))?;
        if !groups.is_empty() {
            removed = std::fs::remove_dir(path);
        }
    }
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Tells the kernel that processes join cgroups often, until the next boot.
///
/// Without it a join waits for an RCU grace period: 5 to 15 ms on an idle machine. On cgroup v1 the switch can only
/// be reached by mounting a hierarchy of one's own with the option; the effect stays when it is unmounted again, which
/// was measured on Linux 6.18, so nothing remains mounted. Kernels before 6.0 do not know the option and work without it.
pub fn favor_dynamic_modification() -> io::Result<()> {
    let context = rustix::mount::fsopen(c"cgroup", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_flag(&context, c"none")?;
    rustix::mount::fsconfig_set_string(&context, c"name", c"sebring-favordynmods")?;
    rustix::mount::fsconfig_set_flag(&context, c"favordynmods")?;
    rustix::mount::fsconfig_create(&context)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(path: &Path, processes: &str) {
        std::fs::create_dir_all(path).expect("a directory");
        std::fs::write(path.join("cgroup.procs"), processes).expect("a file");
    }

    #[test]
    fn processes_in_groups_inside_are_found() {
        let scratch = std::env::temp_dir().join(format!("sebring-cgroup-test-{}", std::process::id()));
        group(&scratch, "7\n");
        group(&scratch.join("docker/one"), "8\n9\n");
        std::fs::write(scratch.join("docker/cgroup.procs"), "").expect("a file");
        let mut found = Vec::new();
        add_processes(&scratch, &mut found).expect("read");
        add_processes(&scratch.join("gone"), &mut found).expect("nothing there is no error");
        std::fs::remove_dir_all(&scratch).expect("removed");
        assert_eq!(found, [7, 8, 9]);
    }

    #[test]
    fn the_root_of_another_installation_stays() {
        let mount = std::env::temp_dir().join(format!("sebring-cgroup-test-root-{}", std::process::id()));
        let (ours, theirs) = (mount.join("sebring/1"), mount.join("sebring/0"));
        let hierarchy = Hierarchy { mount: mount.clone(), version: Version::V2, controllers: vec![Controller::Memory] };
        let cgroups = Cgroups { hierarchies: vec![hierarchy], root: "sebring/1".to_owned() };
        std::fs::create_dir_all(&ours).expect("directories");
        std::fs::create_dir_all(&theirs).expect("directories");
        cgroups.remove_root().expect("removed");
        assert!(!ours.exists() && theirs.exists());
        std::fs::remove_dir(&theirs).expect("empty");
        std::fs::create_dir_all(&ours).expect("directories");
        cgroups.remove_root().expect("removed");
        assert!(!mount.join("sebring").exists(), "nobody else's is left");
        std::fs::remove_dir(&mount).expect("empty");
    }

    #[test]
    fn groups_inside_go_with_their_sandbox() {
        let scratch = std::env::temp_dir().join(format!("sebring-cgroup-test-remove-{}", std::process::id()));
        std::fs::create_dir_all(scratch.join("docker/one")).expect("directories");
        remove_dir(&scratch).expect("removed");
        assert!(!scratch.exists());
        remove_dir(&scratch).expect("gone already");
    }
}
