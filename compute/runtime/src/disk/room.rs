//! How much can still be written, and what keeps a full pool from damaging the layers in it.
//!
//! Images take room when they are first written to, so together they promise more than there is. A write that finds no
//! room below its image would come back to the sandbox as an input/output error, or, if it was a delayed one, be lost.
//! So before it comes to that the images are *closed*: their file systems are told to keep all free blocks in reserve
//! (`reserved_clusters` of ext4, kernel documentation, admin-guide/ext4), and whatever needs a new block gets `ENOSPC`,
//! as on any full disk. What they accepted before still finds its room.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::loop_device::LoopDevice;
use super::{Disks, Mode, pool};
use crate::mounts;

/// `FITRIM` of `linux/fs.h`.
const FITRIM: libc::Ioctl = 0xc018_5879_u32 as libc::Ioctl;

/// The block size of our images, bytes.
const BLOCK: u64 = 4096;
/// What the kernel keeps in reserve by itself: 2 %, and no more than this many clusters (`ext4_calculate_resv_clusters`).
const DEFAULT_RESERVE: u64 = 4096;

/// Bytes of the file system that fills up first: the pool's, or the one that the pool lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub free: u64,
    pub size: u64,
}

/// Bytes that a layer's file system has given away, and that its image takes of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub promised: u64,
    pub taken: u64,
}

impl Room {
    fn of(path: &Path) -> io::Result<Self> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Self { free: stat.f_bavail * stat.f_frsize, size: stat.f_blocks * stat.f_frsize })
    }
}

impl Disks {
    /// The room that is left now.
    pub fn room(&self) -> io::Result<Room> {
        let (pool, below) = (Room::of(&self.root)?, Room::of(&self.data_dir)?);
        Ok(Room { free: pool.free.min(below.free), size: pool.size.min(below.size) })
    }

    /// Whether layers can be closed; directories share the free space of their file system, which says `ENOSPC` itself.
    pub fn can_close(&self) -> bool {
        self.mode != Mode::Directory
    }

    /// The use of a running sandbox's layer; `seen` is a path in the sandbox.
    pub fn usage(&self, name: &str, seen: &Path) -> io::Result<Usage> {
        let stat = rustix::fs::statvfs(seen)?;
        let taken = self.path(name).metadata()?.blocks() * 512;
        Ok(Usage { promised: (stat.f_blocks - stat.f_bfree) * stat.f_frsize, taken })
    }

    /// Gives back the room of what was deleted in a mounted layer.
    pub fn trim(&self, name: &str, loop_device: u32) -> io::Result<()> {
        let file = File::open(self.path(name))?;
        // Held, so that the number stays this layer's.
        let Some(device) = LoopDevice::still_attached(loop_device, &file) else { return Ok(()) };
        let mount = mounts::new_filesystem(c"ext4", &[(c"source", &device.path())], 0)?;
        let root = rustix::fs::openat(
            &mount,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?;
        trim(&root)
    }

    /// Closes or opens a mounted layer. May be repeated.
    pub fn set_closed(&self, name: &str, loop_device: u32, closed: bool) -> io::Result<()> {
        let blocks = self.path(name).metadata()?.len() / BLOCK;
        // The kernel takes any number below that of all.
        let reserve = if closed { blocks - 1 } else { (blocks / 50).min(DEFAULT_RESERVE) };
        std::fs::write(format!("/sys/fs/ext4/loop{loop_device}/reserved_clusters"), reserve.to_string())
    }

    /// Lets what was deleted become free, below the pool as well.
    pub fn settle(&self) -> io::Result<()> {
        let root = File::open(&self.root)?;
        // It is free in the pool once its log is written.
        rustix::fs::syncfs(&root)?;
        if self.has_pool() { trim(root) } else { Ok(()) }
    }

    /// Bytes that the pool takes of the file system it lies on beyond what is used in it: what [`Disks::settle`] gives back,
    /// and a number that changes little. None without a pool.
    pub fn slack(&self) -> io::Result<Option<i64>> {
        if !self.has_pool() {
            return Ok(None);
        }
        let pool = Room::of(&self.root)?;
        Ok(Some(pool::taken(&self.data_dir)? as i64 - (pool.size - pool.free) as i64))
    }
}

/// Tells what lies below a file system which parts of it are free.
fn trim(directory: impl AsFd) -> io::Result<()> {
    // `struct fstrim_range`: start, length, shortest free extent; bytes.
    let mut range = [0, u64::MAX, 0];
    // SAFETY: range has the layout that the request reads and writes, and lives through the call.
    match unsafe { libc::ioctl(directory.as_fd().as_raw_fd(), FITRIM, range.as_mut_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
