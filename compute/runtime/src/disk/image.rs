//! One sandbox's ext4 image.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::fs::{FallocateFlags, FlockOperation, SeekFrom as Sparse};
use rustix::io::Errno;
use sebring_fault::Point;

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
    target.set_len(source.metadata()?.len())?;
    for data in data(&source)? {
        source.seek(SeekFrom::Start(data.start))?;
        target.seek(SeekFrom::Start(data.start))?;
        io::copy(&mut (&source).take(data.end - data.start), &mut target)?;
    }
    Ok(())
}

/// Where a file has data and no holes; bytes.
pub(super) fn data(file: &File) -> io::Result<Vec<Range<u64>>> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        match rustix::fs::seek(file, Sparse::Data(at)) {
            Ok(start) => at = start,
            // None after this.
            Err(Errno::NXIO) => return Ok(found),
            Err(error) => return Err(error.into()),
        }
        let end = rustix::fs::seek(file, Sparse::Hole(at))?;
        found.push(at..end);
        at = end;
    }
}

/// Makes holes of the blocks that hold zeros only, where the file system can.
pub(super) fn dig_holes(path: &Path) -> io::Result<()> {
    const BLOCK: usize = 4096;
    let mut file = File::options().read(true).write(true).open(path)?;
    let mut block = [0; BLOCK];
    for Range { start, end } in data(&file)? {
        for at in (start..end).step_by(BLOCK) {
            let length = (end - at).min(BLOCK as u64);
            let block = &mut block[..length as usize];
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(block)?;
            if block.iter().all(|byte| *byte == 0) {
                match rustix::fs::fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, at, length) {
                    Err(Errno::OPNOTSUPP) => return Ok(()),
                    result => result?,
                }
            }
        }
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

/// Makes an image fit to be mounted as one of `gib` GiB; it must not be attached.
///
/// One that was not unmounted (the host went down while the sandbox ran) is repaired: our images have no journal (each
/// would cost a kernel thread). One whose growth was interrupted is grown.
pub(super) fn make_ready(path: &Path, file: &File, gib: u32) -> Result<(), RuntimeError> {
    let lock = lock(path)?;
    let found = Superblock::read(path).step("state of the disk image")?;
    if found.bytes < u64::from(gib) << 30 {
        tracing::warn!(image = %path.display(), "the growth of a disk was interrupted: going on with it");
        return grow_locked(path, file, gib, &lock);
    }
    if !found.clean {
        tracing::warn!(image = %path.display(), "disk was not unmounted cleanly: checking it");
        check(path, &lock)?;
    }
    Ok(())
}

/// Grows the file, then the file system in it. Repeated after an interruption it goes on.
pub(super) fn grow(path: &Path, file: &File, gib: u32) -> Result<(), RuntimeError> {
    grow_locked(path, file, gib, &lock(path)?)
}

fn grow_locked(path: &Path, file: &File, gib: u32, lock: &File) -> Result<(), RuntimeError> {
    let length = u64::from(gib) << 30;
    if file.metadata().step("size of the disk image")?.len() < length {
        file.set_len(length).step("growth of the disk image")?;
    }
    sebring_fault::point(Point::GrowLengthened);
    check(path, lock)?;
    sebring_fault::point(Point::GrowChecked);
    let output =
        run(Command::new("resize2fs").arg(path), lock).step("growth of the file system (package e2fsprogs)")?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(RuntimeError::new("growth of the file system", io::Error::other(message)))
}

/// Waits for a program that an earlier server started on this image and that outlived it. The loop device keeps what it
/// was attached by open, so the lock has an open file of its own.
fn lock(path: &Path) -> Result<File, RuntimeError> {
    let file = File::open(path).step("disk image of the sandbox")?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive).step("lock of the disk image")?;
    Ok(file)
}

/// Runs a program that holds the lock to its end, should this server end before it.
pub(super) fn run(command: &mut Command, lock: &File) -> io::Result<Output> {
    command.stdin(Stdio::from(lock.try_clone()?)).output()
}

fn check(image: &Path, lock: &File) -> Result<(), RuntimeError> {
    let output = run(Command::new("e2fsck").args(["-f", "-y"]).arg(image), lock).step("check of the disk image")?;
    match output.status.code() {
        // 0: clean; 1: errors corrected (e2fsck(8)).
        Some(0 | 1) => Ok(()),
        _ => Err(RuntimeError::new(
            "check of the disk image",
            io::Error::other(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        )),
    }
}

/// What the superblock says (kernel documentation, filesystems/ext4/globals).
struct Superblock {
    /// It was unmounted: bit 0 of `s_state`.
    clean: bool,
    /// `s_blocks_count_lo`; our images are far below 2^32 blocks of 4 KiB.
    bytes: u64,
}

impl Superblock {
    fn read(image: &Path) -> io::Result<Self> {
        let mut file = File::open(image)?;
        file.seek(SeekFrom::Start(1024))?;
        let mut block = [0; 0x3c];
        file.read_exact(&mut block)?;
        let blocks = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
        let state = u16::from_le_bytes([block[0x3a], block[0x3b]]);
        Ok(Self { clean: state & 1 == 1, bytes: u64::from(blocks) * 4096 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_become_holes() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("image");
        let mut content = vec![0; 64 << 10];
        content[5000] = 1;
        content[40_000] = 1;
        std::fs::write(&path, &content).expect("written");
        dig_holes(&path).expect("dug");
        assert_eq!(std::fs::read(&path).expect("there"), content);
        let left = data(&File::open(&path).expect("there")).expect("told");
        assert_eq!(left, [4096..8192, 36_864..40_960]);
    }
}
