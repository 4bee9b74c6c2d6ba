//! The writable layer of each sandbox, with a hard size limit where the host allows one.
//!
//! | mode | layer | limit | needs |
//! |---|---|---|---|
//! | [`Mode::Reflink`] | ext4 image, cloned from a template | exact | reflink in the data directory, or XFS for a pool file |
//! | [`Mode::Copy`] | ext4 image, sparse copy of a template | exact | loop devices |
//! | [`Mode::Directory`] | directory | none | nothing |
//!
//! Images and the pool are attached as detached or private mounts: when the server and the sandboxes are gone the
//! kernel lets go of the loop devices by itself. An image that is still in use is found again by its device, since
//! attaching it twice would destroy it.

mod confined;
mod image;
mod loop_device;
mod mounted;
mod pool;
mod room;
mod template;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Context, RuntimeError};
use crate::{mounts, tree};
use loop_device::LoopDevice;
pub use mounted::MountedDisk;
pub use room::{Room, Usage};
pub use template::Template;

/// How layers are stored; chosen when the server starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Reflink,
    Copy,
    Directory,
}

impl Mode {
    /// Whether a sandbox can't write more than its size.
    pub fn has_hard_limit(self) -> bool {
        self != Self::Directory
    }
}

/// All layers of one data directory.
#[derive(Debug)]
pub struct Disks {
    mode: Mode,
    /// Holds `disks/` and `templates/`.
    root: PathBuf,
    /// On the file system that the root, or the pool that holds it, lies on.
    data_dir: PathBuf,
}

impl Disks {
    /// Finds the best mode that the host offers and mounts the pool in this process's mount namespace.
    pub fn open(data_dir: &Path) -> Result<Self, RuntimeError> {
        let (mode, root) = choose(data_dir)?;
        for dir in ["disks", "templates"] {
            std::fs::create_dir_all(root.join(dir)).step("creation of the disk directories")?;
        }
        Ok(Self { mode, root, data_dir: data_dir.to_owned() })
    }

    /// Lets the pool, if there is one, grow to the file system it lies on. Sandboxes may use it meanwhile.
    pub fn follow(&self) -> io::Result<()> {
        if self.has_pool() { pool::follow(&self.data_dir, &self.root) } else { Ok(()) }
    }

    fn has_pool(&self) -> bool {
        self.root != self.data_dir
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Where the layers' files are; the file system to watch for free space.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes an empty layer of `gib` GiB.
    pub fn create(&self, name: &str, gib: u32) -> Result<(), RuntimeError> {
        let path = self.path(name);
        if self.mode == Mode::Directory {
            return template::populate(&path).step("creation of the disk directory");
        }
        let template = template::ensure(&self.root.join("templates"), gib)?;
        let made = image::clone_file(&template, &path, self.mode).step("creation of the disk image");
        if made.is_err() {
            self.remove(name)?;
        }
        made
    }

    /// Gives a layer another name; it may be mounted.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), RuntimeError> {
        std::fs::rename(self.path(from), self.path(to)).step("new name of a disk")
    }

    /// Mounts a layer that was just made, and begins to bring its data into memory: its image is read past the page cache, so
    /// each block that a start finds missing would cost it a disk access.
    pub fn mount_new(&self, name: &str) -> Result<MountedDisk, RuntimeError> {
        let path = self.path(name);
        if self.mode == Mode::Directory {
            return mount_directory(&path);
        }
        let file = open_image(&path)?;
        let data = image::data(&file).step("data of a fresh disk image")?;
        let device = LoopDevice::attach(&file).step("loop device for the disk image")?;
        device.read_ahead(&data).step("first reading of a fresh disk")?;
        mount_image(&device)
    }

    /// Mounts a layer of `gib` GiB. `last_device` is where it was attached last, if that is known: it may still be.
    pub fn mount(&self, name: &str, gib: u32, last_device: Option<u32>) -> Result<MountedDisk, RuntimeError> {
        let path = self.path(name);
        if self.mode == Mode::Directory {
            return mount_directory(&path);
        }
        let file = open_image(&path)?;
        let device = match last_device.and_then(|number| LoopDevice::still_attached(number, &file)) {
            Some(device) => device,
            None => {
                image::make_ready(&path, &file, gib)?;
                LoopDevice::attach(&file).step("loop device for the disk image")?
            }
        };
        mount_image(&device)
    }

    /// Makes a layer larger. It must not be mounted, nor still in use by a sandbox that has just ended.
    pub fn grow(&self, name: &str, gib: u32, last_device: Option<u32>) -> Result<(), RuntimeError> {
        let path = self.path(name);
        if self.mode == Mode::Directory {
            return Ok(());
        }
        let file = open_image(&path)?;
        if last_device.is_some_and(|number| LoopDevice::still_attached(number, &file).is_some()) {
            let busy = io::Error::from_raw_os_error(libc::EBUSY);
            return Err(RuntimeError::new("growth of the disk, which the kernel has not let go of yet", busy));
        }
        image::grow(&path, &file, gib)
    }

    /// Empties a layer that is mounted, was [abandoned](MountedDisk::abandon) and is about to be deleted; no process may use it
    /// any more. What the kernel holds of it lies beyond the end of its device then, so its unmount writes nothing.
    pub fn empty(&self, name: &str, disk: &MountedDisk) -> io::Result<()> {
        let Some(number) = disk.loop_device else { return Ok(()) };
        let image = File::options().write(true).open(self.path(name))?;
        let device = LoopDevice::still_attached(number, &image).ok_or(io::ErrorKind::NotFound)?;
        image.set_len(0)?;
        device.take_size()
    }

    /// Deletes a layer; it may be gone already. Its space is free once no sandbox uses it.
    pub fn remove(&self, name: &str) -> Result<(), RuntimeError> {
        let path = self.path(name);
        let removed = match self.mode {
            Mode::Directory => tree::remove(&path),
            Mode::Reflink | Mode::Copy => std::fs::remove_file(&path),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).step("removal of the disk"),
            _ => Ok(()),
        }
    }

    /// The names of all layers.
    pub fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.root.join("disks"))? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Templates that are made once more when they are asked for: sizes, and what an interrupted making left.
    pub fn templates(&self) -> io::Result<Vec<Template>> {
        template::list(&self.root.join("templates"))
    }

    /// Removes a template, or what was to become one.
    pub fn remove_template(&self, template: &Template) -> io::Result<()> {
        template.remove(&self.root.join("templates"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join("disks").join(name)
    }
}

fn open_image(path: &Path) -> Result<File, RuntimeError> {
    File::options().read(true).write(true).open(path).step("disk image of the sandbox")
}

fn mount_directory(path: &Path) -> Result<MountedDisk, RuntimeError> {
    Ok(MountedDisk { mount: mounts::clone_tree(path)?, loop_device: None })
}

fn mount_image(device: &LoopDevice) -> Result<MountedDisk, RuntimeError> {
    // The inode tables of our images are holes, which read as zeros: the kernel need not fill them in the background.
    let options = [(c"source", device.path()), (c"noinit_itable", String::new())];
    let options = options.each_ref().map(|(key, value)| (*key, value.as_str()));
    let mount = mounts::new_filesystem(c"ext4", &options, 0).step("mount of the disk image")?;
    Ok(MountedDisk { mount, loop_device: Some(device.number()) })
}

fn choose(data_dir: &Path) -> Result<(Mode, PathBuf), RuntimeError> {
    if !Path::new("/dev/loop-control").exists() {
        tracing::warn!("no loop devices: sandboxes have no hard disk limit");
        return Ok((Mode::Directory, data_dir.to_owned()));
    }
    if image::can_reflink(data_dir) {
        return Ok((Mode::Reflink, data_dir.to_owned()));
    }
    match pool::open(data_dir) {
        Ok(root) => Ok((Mode::Reflink, root)),
        Err(error) => {
            tracing::warn!(%error, "no disk pool: images are copied, which is slower");
            Ok((Mode::Copy, data_dir.to_owned()))
        }
    }
}
