//! An empty file system of each size, made once and copied for each sandbox.

use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::FlockOperation;
use sebring_fault::{Point, point};

use super::image;
use crate::error::{Context, RuntimeError};

/// What every sandbox needs to find in its root: places for its mounts, whatever the image holds.
pub(super) const MOUNT_POINTS: [&str; 5] = ["u/.sbx", "u/proc", "u/sys", "u/dev", "u/tmp"];

/// Makes the directories `u` (upper) and `w` (work) with the mount points in them.
pub(super) fn populate(dir: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o755);
    builder.create(dir.join("w"))?;
    for point in MOUNT_POINTS {
        builder.create(dir.join(point))?;
    }
    std::fs::set_permissions(dir.join("u/tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o1777))
}

/// A file of the folder of templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub name: String,
    /// None: it never became one.
    pub gib: Option<u32>,
}

impl Template {
    /// What the name says.
    pub fn named(name: String) -> Self {
        let gib = name.strip_prefix("ext4-").and_then(|rest| rest.strip_suffix("g.img")?.parse().ok());
        Self { name, gib }
    }

    pub(super) fn remove(&self, templates: &Path) -> io::Result<()> {
        let path = templates.join(&self.name);
        match path.symlink_metadata() {
            Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
            Ok(_) => std::fs::remove_file(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn list(templates: &Path) -> io::Result<Vec<Template>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(templates)? {
        found.push(Template::named(entry?.file_name().to_string_lossy().into_owned()));
    }
    Ok(found)
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
    // One at a time, also beside what an earlier server started and did not live to see the end of.
    let lock = File::open(templates)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    if path.exists() {
        return Ok(());
    }
    for left in list(templates)?.iter().filter(|found| found.gib.is_none()) {
        left.remove(templates)?;
    }
    let (tree, image) = (templates.join("tree"), templates.join("new"));
    populate(&tree)?;
    point(Point::TemplateTree);
    let output = image::run(
        Command::new("mkfs.ext4")
            // Each part that holds data costs each of its copies: sharing, reading, freeing. So all that describes the groups
            // lies together, and there is one copy of the superblock, for what repairs an image.
            .args(["-q", "-F", "-m", "0", "-G", "4096"])
            .args(["-O", "^has_journal,^resize_inode,^sparse_super,sparse_super2"])
            .args(["-E", "lazy_itable_init=1,nodiscard,packed_meta_blocks=1,num_backup_sb=1", "-d"])
            .arg(&tree)
            .arg(&image)
            .arg(format!("{gib}G")),
        &lock,
    )
    .map_err(|error| io::Error::new(error.kind(), format!("mkfs.ext4 (package e2fsprogs): {error}")))?;
    let _ = std::fs::remove_dir_all(&tree);
    if !output.status.success() {
        let _ = std::fs::remove_file(&image);
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    image::dig_holes(&image)?;
    point(Point::TemplateMade);
    std::fs::rename(&image, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_from_what_was_interrupted() {
        let gib = |name: &str| Template::named(name.to_owned()).gib;
        assert_eq!(gib("ext4-12g.img"), Some(12));
        assert_eq!((gib("tree"), gib("new"), gib("ext4-g.img")), (None, None, None));
    }
}
