//! Id ranges, and a user and a network namespace prepared ahead of the sandbox that will use them.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use crate::clone::SignalsBlocked;
use crate::error::{Context, RuntimeError};

/// Ids in one sandbox: 0 to 65,535, as in any single system.
pub const RANGE_LENGTH: u32 = 65_536;

/// The host's uids, and gids, that stand for one sandbox's. Never shared by two live sandboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The host id of root inside.
    pub base: u32,
}

impl IdRange {
    /// Makes this thread act on files as root of the range, until the guard is dropped. Capabilities are kept.
    pub(crate) fn act_as_root_of(self) -> Result<FilesystemIds, RuntimeError> {
        // SAFETY: prctl, setfsuid and setfsgid take integers and change this thread only.
        unsafe {
            if libc::prctl(libc::PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) != 0 {
                return Err(RuntimeError::new("securebits of the mounting thread", io::Error::last_os_error()));
            }
            libc::syscall(libc::SYS_setfsuid, self.base);
            libc::syscall(libc::SYS_setfsgid, self.base);
        }
        Ok(FilesystemIds)
    }
}

/// `SECBIT_NO_SETUID_FIXUP` of `linux/securebits.h`: changing fsuid leaves the capabilities.
const SECBIT_NO_SETUID_FIXUP: libc::c_ulong = 1 << 2;

/// Sets this thread's file-system ids back.
pub(crate) struct FilesystemIds;

impl Drop for FilesystemIds {
    fn drop(&mut self) {
        // SAFETY: as in `act_as_root_of`.
        unsafe {
            libc::syscall(libc::SYS_setfsuid, 0);
            libc::syscall(libc::SYS_setfsgid, 0);
            libc::prctl(libc::PR_SET_SECUREBITS, 0, 0, 0, 0);
        }
    }
}

/// A user namespace with its ids mapped, and an empty network namespace that it owns.
#[derive(Debug)]
pub struct Namespaces {
    pub ids: IdRange,
    pub user: OwnedFd,
    pub net: OwnedFd,
}

impl Namespaces {
    /// Makes both. They live as long as a descriptor or a process is in them.
    pub fn prepare(ids: IdRange) -> Result<Self, RuntimeError> {
        let holder = Holder::start().step("creation of the namespaces")?;
        let map = format!("0 {} {RANGE_LENGTH}", ids.base);
        for file in ["uid_map", "gid_map"] {
            std::fs::write(holder.path(file), &map).step("map of the user ids")?;
        }
        let open = |name: &str| File::open(holder.path(name)).map(OwnedFd::from).step("descriptor of a namespace");
        Ok(Self { ids, user: open("ns/user")?, net: open("ns/net")? })
    }
}

const STACK_LENGTH: usize = 4096;

/// A process that does nothing but be in new namespaces. It shares our memory, so that starting it does not copy it.
/// It ends with the thread that started it: a server that is killed leaves none behind.
struct Holder {
    pid: i32,
    _stack: Box<[u8; STACK_LENGTH]>,
}

impl Holder {
    fn start() -> io::Result<Self> {
        let _signals = SignalsBlocked::new();
        let mut stack = Box::new([0u8; STACK_LENGTH]);
        let top = stack.as_mut_ptr().wrapping_add(STACK_LENGTH).cast::<c_void>();
        let flags = libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_NEWUSER | libc::CLONE_NEWNET | libc::SIGCHLD;
        let parent = std::ptr::without_provenance_mut(std::process::id() as usize);
        // SAFETY: `hold` only waits, on a stack of its own that lives until it was killed and reaped.
        let pid = unsafe { libc::clone(hold, top, flags, parent) };
        if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(Self { pid, _stack: stack }) }
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.pid)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // SAFETY: the pid is our unreaped child's, and the status pointer may be null.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}

/// Waits for the end; `parent` is the pid of the process that started it.
extern "C" fn hold(parent: *mut c_void) -> libc::c_int {
    // SAFETY: both calls take and return numbers. The parent may have ended before the first one took effect.
    let orphan = unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::getppid() as usize != parent.addr()
    };
    if orphan {
        return 0;
    }
    loop {
        // SAFETY: pause takes nothing and touches no memory of ours.
        unsafe { libc::pause() };
    }
}
