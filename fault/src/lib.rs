//! Places where a test ends the server as a crash would, to show that what it leaves behind is found and put right.
//!
//! Nothing happens unless `SEBRING_FAULTS` names a directory when the program starts: a point costs one atomic load
//! then. With it each point that is passed is added to the file `passed` in there, and the process kills itself at the
//! point that the file `armed` names; it removes that file first, so that the next life gets through.
//!
//! The points are in the program that is shipped, so that it is that one which is tested. `tests/server/test_faults.py`
//! kills at all of them and fails if one is never passed; who adds a step that leaves something behind adds a point.
#![forbid(unsafe_code)]

mod point;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::process::{Signal, getpid, kill_process};

pub use point::Point;

/// Names the directory.
const VARIABLE: &str = "SEBRING_FAULTS";

static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();

/// The program got as far as `point`.
pub fn point(point: Point) {
    let directory = DIRECTORY.get_or_init(|| std::env::var_os(VARIABLE).map(PathBuf::from));
    if let Some(directory) = directory
        && pass(directory, point)
    {
        // Only a process that may not signal itself would go on.
        let _ = kill_process(getpid(), Signal::KILL);
    }
}

/// Notes that a point was passed; whether it is the one to end at.
fn pass(directory: &Path, point: Point) -> bool {
    // A test that looks for a point which could not be noted fails.
    let _ = File::options()
        .append(true)
        .create(true)
        .open(directory.join("passed"))
        .and_then(|mut passed| passed.write_all(format!("{}\n", point.name()).as_bytes()));
    let armed = directory.join("armed");
    fs::read_to_string(&armed).is_ok_and(|name| name.trim() == point.name()) && fs::remove_file(armed).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_once_at_the_armed_point() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("armed"), "boot.cgroup\n").expect("armed");
        assert!(!pass(directory.path(), Point::BootRecorded));
        assert!(pass(directory.path(), Point::BootCgroup));
        assert!(!pass(directory.path(), Point::BootCgroup));
        let passed = fs::read_to_string(directory.path().join("passed")).expect("passed");
        assert_eq!(passed, "boot.recorded\nboot.cgroup\nboot.cgroup\n");
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Point::ALL.iter().map(|point| point.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Point::ALL.len());
    }
}
