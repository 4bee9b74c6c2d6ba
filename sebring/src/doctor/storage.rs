//! Where sandboxes' files go: overlay, reflink, loop devices, space.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sebring_runtime::mounts::{self, Layers};
use sebring_runtime::namespaces::Namespaces;
use sebring_runtime::{Context, RuntimeError};

use super::kernel::{TRIAL_IDS, trial_ward};
use super::{Finding, chain};

const GB: u64 = 1_000_000_000;
/// The default snapshot, its downloads, and a few sandboxes.
const ENOUGH: u64 = 8 * GB;
/// Less does not hold the default snapshot.
const LEAST: u64 = 3 * GB;

pub(super) fn look(data_dir: &Path, root: bool) -> Vec<Finding> {
    let place = nearest(data_dir);
    let mut findings = vec![space(&place)];
    if root {
        match Scratch::new(&place) {
            Ok(scratch) => {
                findings.extend([overlay(&scratch.0), disks(&scratch.0)]);
                findings.extend(pool(data_dir));
            }
            Err(error) => {
                let found = format!("can't write to {}: {error}", place.display());
                findings.push(Finding::missing("data directory", found, "choose another with --data-dir"));
            }
        }
    }
    findings
}

/// The data directory, or what is there of its path.
fn nearest(data_dir: &Path) -> PathBuf {
    let absolute = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    absolute.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// A folder for trials, gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(place: &Path) -> io::Result<Self> {
        let path = place.join(format!(".sebring-doctor-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn overlay(scratch: &Path) -> Finding {
    const NAME: &str = "idmapped overlay";
    let attempt = || -> Result<(), RuntimeError> {
        let (lower, upper) = (scratch.join("lower"), scratch.join("upper"));
        for dir in [&lower, &upper.join("u"), &upper.join("w")] {
            fs::create_dir_all(dir).step("scratch directory")?;
        }
        let namespaces = Namespaces::prepare(TRIAL_IDS, &trial_ward()?)?;
        let mount = mounts::clone_tree(&upper)?;
        mounts::map_ids(mount.as_fd(), namespaces.user.as_fd()).step("id mapping of a directory")?;
        let layers = Layers { lower: &[&lower], upper: mount.as_fd(), place: scratch };
        mounts::overlay(layers, TRIAL_IDS, namespaces.user.as_fd()).map(drop)
    };
    match attempt() {
        Ok(()) => Finding::ok(NAME, format!("mounted one on {}", file_system(scratch))),
        Err(error) => Finding::missing(
            NAME,
            format!("on {}: {}", file_system(scratch), chain(&error)),
            "put the data directory on ext4, xfs or btrfs, and load the kernel module overlay",
        ),
    }
}

/// The same choice that the server makes when it starts.
fn disks(scratch: &Path) -> Finding {
    const NAME: &str = "sandbox disks";
    if !Path::new("/dev/loop-control").exists() {
        return Finding::limited(
            NAME,
            "directories: there are no loop devices",
            "a sandbox can fill the whole disk: its size is not enforced",
            "load the kernel module loop",
        );
    }
    if can_reflink(scratch) {
        return Finding::ok(NAME, "ext4 images with a hard limit, cloned in the data directory (reflink)");
    }
    if supports("xfs") && super::tools::in_path("mkfs.xfs") {
        return Finding::ok(NAME, "ext4 images with a hard limit, cloned in an xfs pool (reflink)");
    }
    Finding::limited(
        NAME,
        "ext4 images with a hard limit, copied: no reflink",
        "creating takes about a millisecond longer; snapshots and forks will copy all data",
        "apt-get install xfsprogs, on a kernel with xfs; or put the data directory on xfs or btrfs",
    )
}

/// The pool of a server that has run here.
fn pool(data_dir: &Path) -> Option<Finding> {
    const NAME: &str = "disk pool";
    let meta = fs::metadata(data_dir.join("pool.img")).ok()?;
    let below = rustix::fs::statvfs(data_dir).ok()?;
    let found = format!("{} GB taken of {} GB", meta.blocks() * 512 / GB, meta.len() / GB);
    Some(match meta.len() >= below.f_blocks * below.f_frsize {
        true => Finding::ok(NAME, found),
        false => Finding::limited(
            NAME,
            format!("{found}; the file system it lies on has grown"),
            "what was added is not used",
            "start the server again: the pool grows then",
        ),
    })
}

fn can_reflink(dir: &Path) -> bool {
    let attempt = || -> io::Result<()> {
        let (from, to) = (dir.join("from"), dir.join("to"));
        File::create(&from)?.write_all(&[1; 4096])?;
        rustix::fs::ioctl_ficlone(File::create(to)?, File::open(from)?)?;
        Ok(())
    };
    attempt().is_ok()
}

/// Whether the kernel has a file system, also one in a module that is not loaded.
fn supports(name: &str) -> bool {
    let listed = |path: &str, entry: &str| fs::read_to_string(path).is_ok_and(|text| text.contains(entry));
    let modules = format!("/lib/modules/{}", rustix::system::uname().release().to_string_lossy());
    listed("/proc/filesystems", &format!("\t{name}\n"))
        || listed(&format!("{modules}/modules.builtin"), &format!("/{name}.ko"))
        || listed(&format!("{modules}/modules.dep"), &format!("/{name}.ko"))
}

fn space(place: &Path) -> Finding {
    const NAME: &str = "disk space";
    const MEND: &str = "free some, or choose another place with --data-dir";
    let free = match rustix::fs::statvfs(place) {
        Ok(stat) => stat.f_bavail * stat.f_frsize,
        Err(error) => return Finding::missing(NAME, format!("{}: {error}", place.display()), MEND),
    };
    let found = format!("{} GB free at {}", free / GB, place.display());
    if free >= ENOUGH {
        Finding::ok(NAME, found)
    } else if free >= LEAST {
        Finding::limited(NAME, found, "room for a few sandboxes only", MEND)
    } else {
        Finding::missing(NAME, found, MEND)
    }
}

/// The name of the file system that holds a path, as `/proc/self/mountinfo` has it.
fn file_system(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let holder = mounts.lines().filter_map(|line| {
        // proc_pid_mountinfo(5): "... mount-point options [optional fields] - type source super-options"
        let (left, right) = line.split_once(" - ")?;
        let mount = left.split(' ').nth(4)?;
        path.starts_with(mount).then_some((mount.len(), right.split(' ').next()?))
    });
    // Of two mounts at one place the later one is seen.
    holder.max_by_key(|(length, _)| *length).map_or("an unknown file system", |(_, kind)| kind).to_owned()
}
