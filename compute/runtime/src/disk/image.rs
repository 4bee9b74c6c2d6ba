//! One sandbox's ext4 image.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use rustix::fs::SeekFrom as Sparse;

use super::Mode;
use crate::error::{Context, RuntimeError};

/// Copies a file so that both share their blocks, or only its data where that is not possible.
pub(super) fn clone_file(from: &Path, to: &Path, mode: Mode) -> io::Result<()> {
    let source = File::open(from)?;
    let target = File::options().write(true).create_new(true).open(to)?;
    if mode == Mode::Reflink {
        rustix::fs::ioctl_ficlone(&target, &source)?;
        return Ok(());
    }
    copy_sparse(source, target)
}

/// Skips the holes, which are nearly all of a fresh image.
fn copy_sparse(mut source: File, mut target: File) -> io::Result<()> {
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut at = 0;
    while let Ok(data) = rustix::fs::seek(&source, Sparse::Data(at)) {
        let end = rustix::fs::seek(&source, Sparse::Hole(data))?;
        source.seek(SeekFrom::Start(data))?;
        target.seek(SeekFrom::Start(data))?;
        io::copy(&mut (&source).take(end - data), &mut target)?;
        at = end;
    }
    Ok(())
}

/// Whether files in this directory can share blocks.
pub(super) fn can_reflink(dir: &Path) -> bool {
    let probe = |name: &str| dir.join(format!(".reflink-{name}"));
    let (from, to) = (probe("from"), probe("to"));
    let result = (|| {
        File::create(&from)?.write_all(&[1; 4096])?;
        let _ = std::fs::remove_file(&to);
        clone_file(&from, &to, Mode::Reflink)
    })();
    let _ = std::fs::remove_file(&from);
    let _ = std::fs::remove_file(&to);
    result.is_ok()
}

/// Grows the file, then the file system in it. Repeated after an interruption it goes on.
pub(super) fn grow(path: &Path, file: &File, gib: u32) -> Result<(), RuntimeError> {
    let length = u64::from(gib) << 30;
    if file.metadata().step("size of the disk image")?.len() < length {
        file.set_len(length).step("growth of the disk image")?;
    }
    check(path)?;
    let output = Command::new("resize2fs").arg(path).output().step("growth of the file system (package e2fsprogs)")?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(RuntimeError::new("growth of the file system", io::Error::other(message)))
}

/// Repairs an image that was not unmounted: the host went down while the sandbox ran.
///
/// Our images have no journal (each would cost a kernel thread), so they must be checked instead.
pub(super) fn check_if_dirty(image: &Path) -> Result<(), RuntimeError> {
    if is_clean(image).step("state of the disk image")? {
        return Ok(());
    }
    tracing::warn!(image = %image.display(), "disk was not unmounted cleanly: checking it");
    check(image)
}

fn check(image: &Path) -> Result<(), RuntimeError> {
    let output = Command::new("e2fsck").args(["-f", "-y"]).arg(image).output().step("check of the disk image")?;
    match output.status.code() {
        // 0: clean; 1: errors corrected (e2fsck(8)).
        Some(0 | 1) => Ok(()),
        _ => Err(RuntimeError::new(
            "check of the disk image",
            io::Error::other(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        )),
    }
}

/// `s_state` of the superblock (ext4 disk layout): bit 0 says that it was unmounted.
fn is_clean(image: &Path) -> io::Result<bool> {
    const STATE: u64 = 1024 + 0x3a;
    let mut file = File::open(image)?;
    file.seek(SeekFrom::Start(STATE))?;
    let mut state = [0; 2];
    file.read_exact(&mut state)?;
    Ok(u16::from_le_bytes(state) & 1 == 1)
}
