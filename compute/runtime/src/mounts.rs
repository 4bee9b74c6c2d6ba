//! Detached mounts: made here as root of the host, attached later inside the sandbox's mount namespace.
//!
//! All of them are anonymous until the child attaches them, so nothing appears in the host's mount table and
//! nothing is left when the server dies.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::error::{Context, RuntimeError};
use crate::namespaces::IdRange;

/// Moves this thread, and those it will start, into a mount namespace of their own: what is mounted there is seen by
/// nobody else and ends with the process, while unmounts of the host still arrive.
pub fn enter_private_namespace() -> Result<(), RuntimeError> {
    let step = "mount namespace of the server";
    // SAFETY: no other thread of ours shares file-system state with this one, as the callers promise.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.step(step)?;
    let propagation = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", propagation).step(step)
}

/// A private copy of the mount at `path`, of that subtree only.
pub fn clone_tree(path: &Path) -> Result<OwnedFd, RuntimeError> {
    rustix::mount::open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
        .step(format!("clone of the mount at {}", path.display()))
}

/// A private copy of the mount at `path` and of those below it.
pub fn clone_trees(path: &Path) -> Result<OwnedFd, RuntimeError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    rustix::mount::open_tree(CWD, path, flags).step(format!("clone of the mounts at {}", path.display()))
}

/// Attributes of a mount, as in `mount_setattr(2)`.
#[derive(Clone, Copy)]
pub struct Attributes(u64);

impl Attributes {
    /// Data that no program may be run from.
    pub const DATA: Self = Self(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC);
    /// The same, and nothing can be changed.
    pub const READ_ONLY_DATA: Self = Self(Self::DATA.0 | libc::MOUNT_ATTR_RDONLY);
    /// Files that may be read and executed, nothing else.
    pub const PROGRAM: Self = Self(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_RDONLY);
    /// Device nodes that may be used, in a directory that may not be changed.
    pub const DEVICES: Self = Self(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_RDONLY);
}

impl Attributes {
    pub(crate) fn bits(self) -> u64 {
        self.0
    }
}

/// Adds attributes to a detached mount.
pub fn restrict(mount: BorrowedFd<'_>, attributes: Attributes) -> io::Result<()> {
    set_attributes(mount, attributes.0, None)
}

/// Shifts the ids of a detached mount: id 0 on disk is shown as the first id of the user namespace.
pub fn map_ids(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> io::Result<()> {
    set_attributes(mount, libc::MOUNT_ATTR_IDMAP, Some(user_namespace))
}

fn set_attributes(mount: BorrowedFd<'_>, set: u64, user_namespace: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: user_namespace.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    // SAFETY: the path is a C string, and attr lives through the call and has the size given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of_val(&attr),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A new file system, mounted but attached nowhere.
pub fn new_filesystem(kind: &CStr, options: &[(&CStr, &str)], attributes: u64) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        if value.is_empty() {
            rustix::mount::fsconfig_set_flag(context.as_fd(), *key)?;
        } else {
            rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)?;
        }
    }
    rustix::mount::fsconfig_create(context.as_fd()).map_err(|error| explain(&context, error.into()))?;
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    Ok(rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Attaches a detached mount in our own mount namespace.
pub fn attach(mount: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    Ok(rustix::mount::move_mount(mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// The kernel explains a refused mount in messages on the context; keep the last one in the error.
fn explain(context: &OwnedFd, error: io::Error) -> io::Error {
    let mut message = [0u8; 512];
    match rustix::io::read(context, &mut message) {
        Ok(length) if length > 2 => {
            // The first two bytes are the level: "e ", "w ", "i ".
            let text = String::from_utf8_lossy(&message[2..length]);
            tracing::warn!(kernel = text.trim_end(), %error, "the kernel refused a mount");
            error
        }
        _ => error,
    }
}

/// Layers of a root file system.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// Read-only directories, the topmost first.
    pub lower: &'a [&'a Path],
    /// A detached mount with the directories `u` (upper) and `w` (work), already id-mapped.
    pub upper: BorrowedFd<'a>,
    /// A directory that nobody else uses, where older kernels must see the layers for a moment.
    pub place: &'a Path,
}

/// A root file system, mounted but attached nowhere.
#[derive(Debug)]
pub struct Overlay {
    pub root: OwnedFd,
    /// The mapped layers: needed no more, but closing them takes time.
    pub layers: Vec<OwnedFd>,
}

/// Joins the layers; ids on disk stay zero-based while the sandbox sees its own.
///
/// # Errors
/// Also when the result would not be writable: overlayfs then comes up read-only without an error of its own.
pub fn overlay(layers: Layers<'_>, ids: IdRange, user_namespace: BorrowedFd<'_>) -> Result<Overlay, RuntimeError> {
    let mut lower = Vec::with_capacity(layers.lower.len());
    for path in layers.lower {
        let tree = clone_tree(path)?;
        map_ids(tree.as_fd(), user_namespace).step("id mapping of a read-only layer")?;
        lower.push(tree);
    }
    let mut fds: Vec<BorrowedFd<'_>> = lower.iter().map(AsFd::as_fd).collect();
    fds.push(layers.upper);
    let mount = || mount_overlay(&fds, ids);
    let attached = || {
        let _attached = Attached::at(layers.place, &fds).step("attachment of the layers")?;
        mount()
    };
    let root = if NEEDS_ATTACHED_LAYERS.load(Ordering::Relaxed) {
        attached()
    } else {
        match mount() {
            Err(error) if error.errno() == Some(libc::EINVAL) => {
                let root = attached();
                NEEDS_ATTACHED_LAYERS.store(root.is_ok(), Ordering::Relaxed);
                root
            }
            other => other,
        }
    };
    Ok(Overlay { root: root?, layers: lower })
}

/// Before Linux 6.15 overlayfs takes only layers that are attached in the mounter's namespace; found out by trying.
static NEEDS_ATTACHED_LAYERS: AtomicBool = AtomicBool::new(false);

/// The last of the layers is the upper one.
fn mount_overlay(layers: &[BorrowedFd<'_>], ids: IdRange) -> Result<OwnedFd, RuntimeError> {
    let step = "mount of the overlay";
    let (upper, lower) = layers.split_last().ok_or(io::ErrorKind::InvalidInput).map_err(io::Error::from).step(step)?;
    let path = |fd: &BorrowedFd<'_>| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let upper = path(upper);
    // Overlayfs acts on the upper layer as the one who mounts it, and id 0 has no place in the mapped layer.
    let _credentials = ids.act_as_root_of()?;
    new_filesystem(
        c"overlay",
        &[
            (c"source", "sebring"),
            (c"lowerdir", &lower.iter().map(path).collect::<Vec<_>>().join(":")),
            (c"upperdir", &format!("{upper}/u")),
            (c"workdir", &format!("{upper}/w")),
        ],
        libc::MOUNT_ATTR_NODEV,
    )
    .step(step)
}

/// Mounts that are attached for a moment, each to a directory of its own.
struct Attached(Vec<PathBuf>);

impl Attached {
    fn at(place: &Path, mounts: &[BorrowedFd<'_>]) -> io::Result<Self> {
        let mut attached = Self(Vec::with_capacity(mounts.len()));
        for (number, mount) in mounts.iter().enumerate() {
            let target = place.join(format!("layer-{number}"));
            match std::fs::create_dir(&target) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            attach(*mount, &target)?;
            attached.0.push(target);
        }
        Ok(attached)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        for target in &self.0 {
            let detached = rustix::mount::unmount(target, UnmountFlags::DETACH);
            if let Err(error) = detached.map_err(io::Error::from).and_then(|()| std::fs::remove_dir(target)) {
                tracing::warn!(%error, path = %target.display(), "a layer's mount point stays");
            }
        }
    }
}
