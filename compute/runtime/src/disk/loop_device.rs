//! Files as block devices (`loop(4)`).

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Advice;
use rustix::mount::OpenTreeFlags;

const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
const LOOP_SET_CAPACITY: libc::Ioctl = 0x4c07;
const LOOP_GET_STATUS64: libc::Ioctl = 0x4c05;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;
/// The block size of the file systems in our images, bytes.
const BLOCK_SIZE: u32 = 4096;
/// Bytes of a hole that are read sooner than two requests are made.
const CLOSE: u64 = 256 << 10;

/// `struct loop_info64` of `linux/loop.h`.
#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of `linux/loop.h`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// An attached device. The kernel detaches it when the last user, this or a mount, is gone.
#[derive(Debug)]
pub(super) struct LoopDevice {
    number: u32,
    /// Keeps it attached until it is mounted.
    file: File,
}

impl LoopDevice {
    pub fn number(&self) -> u32 {
        self.number
    }

    pub fn path(&self) -> String {
        path(self.number).to_string_lossy().into_owned()
    }

    /// Begins to read parts of it into memory; those that lie close together at once, with the holes between them.
    pub fn read_ahead(&self, parts: &[Range<u64>]) -> io::Result<()> {
        for group in parts.chunk_by(|before, after| after.start - before.end <= CLOSE) {
            if let [first, ..] = group
                && let Some(last) = group.last()
            {
                let length = NonZeroU64::new(last.end - first.start);
                rustix::fs::fadvise(&self.file, first.start, length, Advice::WillNeed)?;
            }
        }
        Ok(())
    }

    /// Becomes as large as its file is now.
    pub fn take_size(&self) -> io::Result<()> {
        // SAFETY: the request takes no argument.
        match unsafe { libc::ioctl(self.file.as_raw_fd(), LOOP_SET_CAPACITY) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Attaches a file to a free device, past the page cache where the file system can.
    pub fn attach(file: &File) -> io::Result<Self> {
        let control = File::options().read(true).write(true).open("/dev/loop-control")?;
        loop {
            // SAFETY: the request takes no argument.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
            if number < 0 {
                return Err(io::Error::last_os_error());
            }
            let number = number as u32;
            let device = open(number)?;
            match configure(&device, file) {
                Ok(()) => return Ok(Self { number, file: device }),
                // Somebody else was faster with this one.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The device of that number, if it is attached to this very file.
    pub fn still_attached(number: u32, file: &File) -> Option<Self> {
        let device = open_existing(number)?;
        // SAFETY: Info is plain data.
        let mut info: Info = unsafe { std::mem::zeroed() };
        // SAFETY: info has the layout that the request fills in.
        let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) };
        let meta = file.metadata().ok()?;
        (result == 0 && info.inode == meta.ino() && info.device == meta.dev()).then_some(Self { number, file: device })
    }

    /// Searches all devices for one that is attached to this file.
    pub fn find(file: &File) -> io::Result<Option<Self>> {
        for entry in std::fs::read_dir("/sys/block")? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("loop")?.parse().ok());
            if let Some(device) = number.and_then(|number| Self::still_attached(number, file)) {
                return Ok(Some(device));
            }
        }
        Ok(None)
    }
}

fn configure(device: &File, file: &File) -> io::Result<()> {
    let file = nameless(file)?;
    // SAFETY: Config is plain data for which zero is valid.
    let mut config: Config = unsafe { std::mem::zeroed() };
    config.fd = file.as_raw_fd() as u32;
    config.block_size = BLOCK_SIZE;
    config.info.flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    // SAFETY: config has the layout that the request reads, and lives through the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The same file, opened through a mount of its own that is attached nowhere. The kernel shows the path of a device's file to
/// everybody who sees `/sys`, so to all sandboxes: of this one there is none.
fn nameless(file: &File) -> io::Result<File> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = rustix::mount::open_tree(file, "", flags)?;
    File::options().read(true).write(true).open(format!("/proc/self/fd/{}", mount.as_raw_fd()))
}

fn path(number: u32) -> PathBuf {
    Path::new("/dev").join(format!("loop{number}"))
}

/// Makes the node where `/dev` does not show new devices.
fn open(number: u32) -> io::Result<File> {
    let path = path(number);
    if !path.exists() {
        let device = std::fs::read_to_string(format!("/sys/block/loop{number}/dev"))?;
        let (major, minor) = device.trim().split_once(':').unwrap_or(("7", "0"));
        let device = rustix::fs::makedev(major.parse().unwrap_or(7), minor.parse().unwrap_or(number));
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::BlockDevice, mode, device)?;
    }
    File::options().read(true).write(true).open(path)
}

fn open_existing(number: u32) -> Option<File> {
    File::options().read(true).write(true).open(path(number)).ok()
}
