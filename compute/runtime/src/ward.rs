//! What stands between the host and every sandbox, made once per server: two namespaces that no program runs in.
//!
//! - A user namespace with all ids of the host, the parent of each sandbox's, made by a user of the host that is nobody: what
//!   sandboxes take of things that the kernel counts per user is no one else's (`counted.rs`). A mount namespace that a sandbox's user
//!   namespace owns is copied from one that the ward owns, and mounts that come over such a border are *locked*
//!   (`mount_namespaces(7)`): root inside has every capability over its own mounts, and still can neither detach these
//!   nor take `nodev` or `ro` off them.
//! - A mount namespace, the *anteroom*, with a `/proc` and a `/sys` in sight, without which the kernel allows no new ones,
//!   and a place to build a sandbox's root at. Starts copy it instead of all the mounts of the host.

use std::ffi::{CStr, c_int, c_void};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use crate::clone::{self, SignalsBlocked};
use crate::counted::{self, Counted};
use crate::error::{Context, RuntimeError};
use crate::mounts::{self, Attributes};
use crate::namespaces::UserNamespace;

/// Where the anteroom has room for a root.
pub(crate) const ATTACH_POINT: &CStr = c"/root";

/// What one sandbox may use of things that the kernel counts per user, by the name of the limit in `/proc/sys/user`. They
/// are the ward's limits, counted for the id that made the sandbox's user namespace: root inside can't raise them.
///
/// Network namespaces are the dear ones: each has tables that are bounded for itself only. A container needs one, and a few
/// are still being taken apart when the next are made.
const LIMITS: [(&CStr, &CStr); 12] = [
    (c"/proc/sys/user/max_fanotify_groups", c"0"),
    (c"/proc/sys/user/max_fanotify_marks", c"0"),
    (c"/proc/sys/user/max_inotify_instances", c"1024"),
    (c"/proc/sys/user/max_inotify_watches", c"262144"),
    (c"/proc/sys/user/max_cgroup_namespaces", c"256"),
    (c"/proc/sys/user/max_ipc_namespaces", c"256"),
    (c"/proc/sys/user/max_mnt_namespaces", c"512"),
    (c"/proc/sys/user/max_net_namespaces", c"48"),
    (c"/proc/sys/user/max_pid_namespaces", c"256"),
    (c"/proc/sys/user/max_time_namespaces", c"64"),
    (c"/proc/sys/user/max_user_namespaces", c"64"),
    (c"/proc/sys/user/max_uts_namespaces", c"256"),
];

/// Both namespaces, by descriptors.
#[derive(Debug)]
pub struct Ward {
    pub(crate) user: OwnedFd,
    pub(crate) anteroom: OwnedFd,
    /// What each sandbox's user namespace is made with.
    pub(crate) share: Counted,
}

impl Ward {
    /// Makes both. `scratch` is an existing directory, which is left as it was; `creator` is a user of the host that nobody
    /// else is.
    pub fn open(scratch: &Path, creator: u32) -> Result<Self, RuntimeError> {
        // All ids but the last, which is none.
        const MAP: &CStr = c"0 0 4294967295";
        let wanted = UserNamespace { parent: None, creator, map: MAP, limits: counted::ALL, beside: 0 };
        let (holder, granted) = wanted.make()?;
        let user = holder.namespace("user")?;
        limit(&user)?;
        // Mount namespaces are entered by threads, one by one.
        let anteroom = std::thread::scope(|scope| scope.spawn(|| anteroom(scratch)).join());
        let anteroom = anteroom.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).step("mounts of the ward")?;
        Ok(Self { user, anteroom, share: counted::share(granted) })
    }

    /// Whether every sandbox has a share of its own of what the kernel counts per user, or a few could take all.
    pub fn shares_suffice(&self) -> bool {
        self.share == counted::share(counted::ALL)
    }
}

fn limit(user_namespace: &OwnedFd) -> Result<(), RuntimeError> {
    let mut failure = 0;
    let mut context = (user_namespace.as_raw_fd(), &raw mut failure);
    let args = clone::args((libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES) as u64, libc::SIGCHLD);
    let pid = {
        let _signals = SignalsBlocked::new();
        // SAFETY: `write_limits` keeps to the rules of `clone_vfork`, and the context outlives it.
        unsafe { clone::clone_vfork(&args, write_limits, (&raw mut context).cast()) }
    };
    if pid < 0 {
        return Err(RuntimeError::new("start of a process", io::Error::from_raw_os_error(-pid as i32)));
    }
    // SAFETY: it is our unreaped child; the status may be null.
    unsafe { libc::waitpid(pid as c_int, std::ptr::null_mut(), libc::__WALL) };
    match failure {
        0 => Ok(()),
        errno => Err(RuntimeError::new("limits of the ward", io::Error::from_raw_os_error(errno))),
    }
}

/// The files are those of the namespace that a process is in. Kernels differ in what they count: absent ones are fine.
unsafe extern "C" fn write_limits(context: *mut c_void) -> ! {
    // SAFETY: system calls on constants and on the context of the waiting thread, which nobody else touches.
    unsafe {
        let (user_namespace, failure) = *context.cast::<(c_int, *mut c_int)>();
        if libc::setns(user_namespace, libc::CLONE_NEWUSER) < 0 {
            *failure = *libc::__errno_location();
        }
        for (limit, value) in LIMITS {
            let file = libc::open(limit.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if *failure == 0 && file >= 0 {
                if libc::write(file, value.as_ptr().cast(), value.count_bytes()) < 0 {
                    *failure = *libc::__errno_location();
                }
                libc::close(file);
            }
        }
        libc::_exit(0)
    }
}

/// Moves this thread into a new mount namespace and empties it; answers its descriptor.
fn anteroom(scratch: &Path) -> io::Result<OwnedFd> {
    // SAFETY: the thread was started for this, and shares its file-system state with nobody from here on.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS)? };
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let room = mounts::new_filesystem(c"tmpfs", &[(c"mode", "0755"), (c"size", "16k")], 0)?;
    mounts::attach(room.as_fd(), scratch)?;
    for (kind, name) in [(c"proc", "proc"), (c"sysfs", "sys")] {
        let place = scratch.join(name);
        fs::create_dir(&place)?;
        mounts::attach(mounts::new_filesystem(kind, &[], 0)?.as_fd(), &place)?;
    }
    fs::create_dir(scratch.join("root"))?;
    mounts::restrict(room.as_fd(), Attributes::READ_ONLY_DATA)?;
    std::env::set_current_dir(scratch)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    Ok(fs::File::open("/proc/thread-self/ns/mnt")?.into())
}
