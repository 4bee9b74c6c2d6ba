//! A file system with reflink in one sparse file, for hosts whose own file system has none.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::FlockOperation;
use sebring_fault::{Point, point};

use super::image;
use super::loop_device::LoopDevice;
use crate::error::{Context, RuntimeError};
use crate::mounts;

/// Mounts the pool of the data directory, making it first where there is none.
pub(super) fn open(data_dir: &Path) -> Result<PathBuf, RuntimeError> {
    let image = image_in(data_dir);
    if !image.exists() {
        make(data_dir, &image).step("creation of the disk pool")?;
    }
    let file = File::options().read(true).write(true).open(&image).step("disk pool")?;
    // Sandboxes of an earlier server may still use it.
    let device = match LoopDevice::find(&file).step("search for the disk pool")? {
        Some(device) => device,
        None => LoopDevice::attach(&file).step("loop device for the disk pool")?,
    };
    // What is deleted becomes free below the pool when it is asked for ([`Disks::settle`](super::Disks::settle)): many at once
    // cost little more than one.
    let mount = mounts::new_filesystem(c"xfs", &[(c"source", &device.path())], 0).step("mount of the disk pool")?;
    let path = data_dir.join("pool");
    std::fs::create_dir_all(&path).step("directory of the disk pool")?;
    mounts::attach(mount.as_fd(), &path).step("attachment of the disk pool")?;
    if let Err(error) = follow(data_dir, &path) {
        tracing::warn!(%error, "the disk pool stays smaller than the file system it lies on");
    }
    Ok(path)
}

fn image_in(data_dir: &Path) -> PathBuf {
    data_dir.join("pool.img")
}

/// The first fields of `struct xfs_fsop_geom_v1` (`linux/fs/xfs/libxfs/xfs_fs.h`), as long as the whole.
#[repr(C)]
struct Geometry {
    block_size: u32,
    others: [u32; 7],
    data_blocks: u64,
    rest: [u64; 9],
}

/// XFS_IOC_FSGEOMETRY_V1.
const GEOMETRY: libc::Ioctl = 0x8070_5864_u32 as libc::Ioctl;
/// Growths of less than this are not worth it, bytes; xfs also leaves out a last part that is too small for it.
const STEP: u64 = 16 << 20;

/// Of the device that the pool's file system uses, bytes; `statvfs` leaves out its log.
fn length(pool: &Path) -> io::Result<u64> {
    let directory = File::open(pool)?;
    let mut geometry = Geometry { block_size: 0, others: [0; 7], data_blocks: 0, rest: [0; 9] };
    // SAFETY: geometry has the layout that the request fills in.
    match unsafe { libc::ioctl(directory.as_raw_fd(), GEOMETRY, &raw mut geometry) } {
        0 => Ok(geometry.data_blocks * u64::from(geometry.block_size)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// As large as the file system it lies on: being sparse it takes only what is used.
fn wanted(data_dir: &Path) -> io::Result<u64> {
    let host = rustix::fs::statvfs(data_dir)?;
    Ok((host.f_blocks * host.f_frsize).max(1 << 30))
}

/// Bytes that the pool's file takes of the file system it lies on.
pub(super) fn taken(data_dir: &Path) -> io::Result<u64> {
    Ok(image_in(data_dir).metadata()?.blocks() * 512)
}

/// Grows the mounted pool when the file system it lies on has grown; sandboxes may use it meanwhile.
pub(super) fn follow(data_dir: &Path, pool: &Path) -> io::Result<()> {
    // Not the length of the file: a server may have ended after it made that longer.
    let (size, wanted) = (length(pool)?, wanted(data_dir)?);
    if wanted < size + STEP {
        return Ok(());
    }
    let file = File::options().read(true).write(true).open(image_in(data_dir))?;
    if file.metadata()?.len() < wanted {
        file.set_len(wanted)?;
    }
    let device = LoopDevice::find(&file)?.ok_or(io::ErrorKind::NotFound)?;
    device.take_size()?;
    let output = Command::new("xfs_growfs")
        .args(["-d"])
        .arg(pool)
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("xfs_growfs (package xfsprogs): {error}")))?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    tracing::info!(from = size, to = wanted, "disk pool grown");
    Ok(())
}

fn make(data_dir: &Path, path: &Path) -> io::Result<()> {
    let size = wanted(data_dir)?;
    let new = data_dir.join("pool.new");
    let file = File::options().write(true).create(true).truncate(false).open(&new)?;
    // An earlier server's mkfs may have outlived it.
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    file.set_len(0)?;
    file.set_len(size)?;
    let mut mkfs = Command::new("mkfs.xfs");
    let output = image::run(mkfs.args(["-q", "-K", "-f", "-m", "reflink=1", "-s", "size=4096"]).arg(&new), &file)
        .map_err(|error| io::Error::new(error.kind(), format!("mkfs.xfs (package xfsprogs): {error}")))?;
    if !output.status.success() {
        let _ = std::fs::remove_file(&new);
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    point(Point::PoolMade);
    std::fs::rename(&new, path)
}
