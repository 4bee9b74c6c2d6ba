//! One sandbox's ext4 image.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::fs::{FallocateFlags, FlockOperation, SeekFrom as Sparse};
use rustix::io::Errno;
use sebring_fault::Point;

use super::Mode;
use super::confined::{self, Outcome};
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
    if lock.metadata().step("owner of the disk image")?.uid() != 0 {
        confined::take_back(&lock).step("owner of the disk image")?;
    }
    let found = Superblock::read(path).step("state of the disk image")?;
    if found.bytes < u64::from(gib) << 30 {
        tracing::warn!(image = %path.display(), "the growth of a disk was interrupted: going on with it");
        return grow_locked(file, gib, &lock);
    }
    if !found.clean {
        tracing::warn!(image = %path.display(), "disk was not unmounted cleanly: checking it");
        check(&lock)?;
    }
    Ok(())
}

/// Grows the file, then the file system in it. Repeated after an interruption it goes on.
pub(super) fn grow(path: &Path, file: &File, gib: u32) -> Result<(), RuntimeError> {
    grow_locked(file, gib, &lock(path)?)
}

fn grow_locked(file: &File, gib: u32, lock: &File) -> Result<(), RuntimeError> {
    let length = u64::from(gib) << 30;
    if file.metadata().step("size of the disk image")?.len() < length {
        file.set_len(length).step("growth of the disk image")?;
    }
    sebring_fault::point(Point::GrowLengthened);
    check(lock)?;
    sebring_fault::point(Point::GrowChecked);
    let outcome = confined::run("resize2fs", &[confined::IMAGE], lock, patience(lock))
        .step("growth of the file system (resize2fs of package e2fsprogs)")?;
    if outcome.status.success() {
        return Ok(());
    }
    Err(RuntimeError::new("growth of the file system", failure(&outcome)))
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

fn check(lock: &File) -> Result<(), RuntimeError> {
    let outcome = confined::run("e2fsck", &["-f", "-y", confined::IMAGE], lock, patience(lock))
        .step("check of the disk image (e2fsck of package e2fsprogs)")?;
    match outcome.status.code() {
        // 0: clean; 1: errors corrected (e2fsck(8)).
        Some(0 | 1) => Ok(()),
        _ => Err(RuntimeError::new("check of the disk image", failure(&outcome))),
    }
}

/// How long a program may work on an image; files can be arranged such that it takes ever longer.
fn patience(image: &File) -> Duration {
    let gib = image.metadata().map_or(0, |meta| meta.len() >> 30);
    Duration::from_secs(60 + gib)
}

fn failure(outcome: &Outcome) -> io::Error {
    io::Error::other(format!("{}: {}", outcome.status, outcome.said))
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
    use crate::disk::template;

    /// An image of 1 GiB with files in it, that was not unmounted. Needs root, and e2fsprogs.
    fn image_in(dir: &Path) -> Option<(std::path::PathBuf, File)> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let path = dir.join("image");
        clone_file(&template::ensure(dir, 1).expect("a template"), &path, Mode::Copy).expect("copied");
        let commands = (0..200).map(|n| format!("write /etc/passwd file{n}\n")).collect::<String>();
        std::fs::write(dir.join("commands"), commands + "set_super_value state 0\n").expect("written");
        plainly(Command::new("debugfs").arg("-w").arg("-f").arg(dir.join("commands")).arg(&path));
        let file = File::options().read(true).write(true).open(&path).expect("there");
        Some((path, file))
    }

    fn plainly(command: &mut Command) -> Option<i32> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("run").code()
    }

    /// Whether a check finds nothing to say.
    fn is_sound(path: &Path) -> bool {
        plainly(Command::new("e2fsck").args(["-f", "-n"]).arg(path)) == Some(0)
    }

    #[test]
    fn a_damaged_image_is_repaired_without_privileges() {
        let dir = tempfile::tempdir().expect("a directory");
        let Some((path, mut file)) = image_in(dir.path()) else { return };
        // Blocks of the tables at the beginning, some of which say what is in use.
        let damage: Vec<u8> = (0..4096u32).map(|n| (n * 7 + 3) as u8).collect();
        for block in
            data(&file).expect("told").iter().flat_map(|part| (part.start..part.end).step_by(5 * 4096)).take(40)
        {
            if block > 0 {
                file.seek(SeekFrom::Start(block)).expect("there");
                file.write_all(&damage).expect("written");
            }
        }
        assert!(!is_sound(&path));
        // An earlier server ended while a program had it.
        std::os::unix::fs::fchown(&file, Some(4711), Some(4711)).expect("given");
        make_ready(&path, &file, 1).expect("repaired");
        assert!(is_sound(&path));
        assert_eq!(file.metadata().expect("there").uid(), 0);
        assert!(Superblock::read(&path).expect("read").clean);
    }

    #[test]
    fn what_is_no_file_system_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let Some((path, file)) = image_in(dir.path()) else { return };
        file.set_len(0).expect("cut");
        file.set_len(1 << 30).expect("a hole");
        let error = check(&lock(&path).expect("locked")).expect_err("nothing there").to_string();
        assert!(error.contains("exit status") && error.len() < 6000, "{error}");
    }

    #[test]
    fn an_image_grows_without_privileges() {
        let dir = tempfile::tempdir().expect("a directory");
        let Some((path, file)) = image_in(dir.path()) else { return };
        grow(&path, &file, 2).expect("grown");
        assert_eq!(Superblock::read(&path).expect("read").bytes, 2 << 30);
        assert!(is_sound(&path));
        grow(&path, &file, 2).expect("as large already");
    }

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
