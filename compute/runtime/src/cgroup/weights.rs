//! Shares of the disks: whether the kernel heeds weights, and which files take them.
//!
//! A weight does something only where a disk is shared out by it: by the scheduler BFQ, on either version, or by the cost
//! model of cgroup v2 (`io.cost.qos`). Without one a sandbox is not put into an io cgroup at all, which saves its cost.

use std::fs;
use std::io;
use std::path::Path;

use super::detect::Version;

/// Of one CPU; the kernel's default.
const PER_CPU: u64 = 100;
/// The most that BFQ takes; v2 takes ten times that.
const MOST: u64 = 1000;

/// Whether some disk is shared out by the weights of the tree mounted there.
pub(super) fn are_heeded(mount: &Path, version: Version) -> bool {
    let cost_model = || {
        let qos = fs::read_to_string(mount.join("io.cost.qos")).unwrap_or_default();
        qos.lines().any(|line| line.split(' ').any(|word| word == "enable=1"))
    };
    (version == Version::V2 && cost_model()) || has_bfq(Path::new("/sys/block"))
}

/// Whether some disk of the machine uses the scheduler BFQ.
fn has_bfq(disks: &Path) -> bool {
    fs::read_dir(disks).into_iter().flatten().flatten().any(|disk| {
        let schedulers = fs::read_to_string(disk.path().join("queue/scheduler")).unwrap_or_default();
        schedulers.split_ascii_whitespace().any(|word| word == "[bfq]")
    })
}

/// In proportion to the CPUs, so that sandboxes share disks as they share processors.
fn weight(milli_cpus: u64) -> u64 {
    (milli_cpus * PER_CPU / 1000).clamp(1, MOST)
}

/// Sets the weight in each file that this kernel has for it.
pub(super) fn apply(milli_cpus: u64, version: Version, dir: &Path) -> io::Result<()> {
    let files: &[&str] = match version {
        Version::V1 => &["blkio.bfq.weight"],
        Version::V2 => &["io.weight", "io.bfq.weight"],
    };
    files.iter().try_for_each(|file| super::limits::optional(super::limits::write(dir, file, weight(milli_cpus))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheduler_in_use_is_in_brackets() {
        let disks = tempfile::tempdir().expect("a directory");
        let queue = disks.path().join("vda/queue");
        fs::create_dir_all(&queue).expect("a disk");
        for (schedulers, expected) in [("none mq-deadline [bfq]\n", true), ("[none] bfq\n", false)] {
            fs::write(queue.join("scheduler"), schedulers).expect("a file");
            assert_eq!(has_bfq(disks.path()), expected, "{schedulers}");
        }
    }

    #[test]
    fn weights_follow_cpus_within_the_kernels_bounds() {
        assert_eq!([0, 500, 1000, 4000, 64_000].map(weight), [1, 50, 100, 400, 1000]);
    }
}
