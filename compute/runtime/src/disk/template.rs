//! An empty file system of each size, made once and copied for each sandbox.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Context, RuntimeError};

/// What every sandbox needs to find in its root: places for its mounts, whatever the image holds.
const MOUNT_POINTS: [&str; 8] =
    ["u/.sbx", "u/.sbx/bin", "u/.sbx/ctl", "u/.sbx/empty", "u/proc", "u/sys", "u/dev", "u/tmp"];

/// Makes the directories `u` (upper) and `w` (work) with the mount points in them.
pub(super) fn populate(dir: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o755);
    builder.create(dir.join("w"))?;
    for point in MOUNT_POINTS {
        builder.create(dir.join(point))?;
    }
    std::fs::set_permissions(dir.join("u/tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o1777))?;
    std::fs::write(dir.join("u/.sbx/bin/agent"), [])
}

/// The template of that size; made when it is asked for first.
pub(super) fn ensure(templates: &Path, gib: u32) -> Result<PathBuf, RuntimeError> {
    let path = templates.join(format!("ext4-{gib}g.img"));
    if path.exists() {
        return Ok(path);
    }
    make(templates, gib, &path).step(format!("creation of the {gib} GiB disk template"))?;
    Ok(path)
}

fn make(templates: &Path, gib: u32, path: &Path) -> io::Result<()> {
    // Two threads may make the same one: each under a name of its own, the last rename wins.
    let unique = format!("{gib}-{:?}", std::thread::current().id());
    let tree = templates.join(format!("tree-{unique}"));
    let image = templates.join(format!("new-{unique}.img"));
    let _ = std::fs::remove_dir_all(&tree);
    let _ = std::fs::remove_file(&image);
    populate(&tree)?;
    let output = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-m", "0", "-O", "^has_journal,^resize_inode", "-G", "4096"])
        .args(["-E", "lazy_itable_init=1,nodiscard,packed_meta_blocks=1", "-d"])
        .arg(&tree)
        .arg(&image)
        .arg(format!("{gib}G"))
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("mkfs.ext4 (package e2fsprogs): {error}")))?;
    let _ = std::fs::remove_dir_all(&tree);
    if !output.status.success() {
        let _ = std::fs::remove_file(&image);
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    std::fs::rename(&image, path)
}
