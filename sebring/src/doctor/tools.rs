//! Programs of the host that the server runs, and the default snapshot.

use std::path::Path;

use sebring_images::{DEFAULT_SNAPSHOT, SnapshotStore};

use super::{Finding, State, chain};

/// Program, whether nothing runs without it, cost and package.
const TOOLS: [(&str, State, &str, &str); 4] = [
    ("mkfs.ext4", State::Missing, "no sandbox can run", "apt-get install e2fsprogs"),
    (
        "e2fsck",
        State::Limited,
        "sandboxes whose disks were not unmounted cleanly, as after a power cut, can't start",
        "apt-get install e2fsprogs",
    ),
    ("mkfs.xfs", State::Limited, "no pool with reflink is made where there is none", "apt-get install xfsprogs"),
    ("mmdebstrap", State::Limited, "the default snapshot can't be made", "apt-get install mmdebstrap"),
];

pub(super) fn look(data_dir: &Path) -> Vec<Finding> {
    let mut findings: Vec<_> = TOOLS
        .into_iter()
        .map(|(name, state, cost, mend)| match in_path(name) {
            true => Finding::ok(name, "installed"),
            false => Finding { name, state, found: "not in PATH".to_owned(), cost: Some(cost), mend: Some(mend) },
        })
        .collect();
    findings.push(snapshot(data_dir));
    findings
}

/// Whether a program can be run by its name.
pub(super) fn in_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn snapshot(data_dir: &Path) -> Finding {
    const NAME: &str = "default snapshot";
    const MEND: &str = "sebring snapshot bootstrap (dev/up does it)";
    const COST: &str = "sandboxes that name no snapshot can't be created";
    // Opening a store makes its folder.
    if !data_dir.join("snapshots").is_dir() {
        return Finding::limited(NAME, format!("none in {}", data_dir.display()), COST, MEND);
    }
    match SnapshotStore::open(data_dir).and_then(|store| store.find(DEFAULT_SNAPSHOT)) {
        Ok(Some(found)) => Finding::ok(NAME, format!("{DEFAULT_SNAPSHOT}, {} MB", found.size / 1_000_000)),
        Ok(None) => Finding::limited(NAME, format!("none in {}", data_dir.display()), COST, MEND),
        Err(error) => Finding::limited(NAME, chain(&error), COST, MEND),
    }
}
