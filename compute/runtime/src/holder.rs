//! A process that does nothing but be in new namespaces, while descriptors of them are opened.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::os::fd::OwnedFd;

use crate::error::{Context, RuntimeError};

const STACK_LENGTH: usize = 4096;

/// Shares our memory, so that starting it does not copy it. It ends with the thread that started it: a server that is
/// killed leaves none behind.
pub(crate) struct Holder {
    pid: c_int,
    _stack: Stack,
}

/// What a holder stands on.
pub(crate) struct Stack(Box<[u8; STACK_LENGTH]>);

impl Stack {
    pub fn new() -> Self {
        Self(Box::new([0; STACK_LENGTH]))
    }

    pub fn top(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().wrapping_add(STACK_LENGTH).cast()
    }
}

impl Holder {
    /// One that a child of ours [`start`]ed as our child.
    pub fn adopt(pid: c_int, stack: Stack) -> Self {
        Self { pid, _stack: stack }
    }

    pub fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.pid)
    }

    /// A descriptor of one of its namespaces, which then outlives it.
    pub fn namespace(&self, kind: &str) -> Result<OwnedFd, RuntimeError> {
        File::open(self.path(&format!("ns/{kind}"))).map(OwnedFd::from).step("descriptor of a namespace")
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // SAFETY: the pid is our unreaped child's, and the status pointer may be null.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), libc::__WALL);
        }
    }
}

/// What [`start`] must know of us, as it fits into the one argument of a thread.
pub(crate) fn server() -> *mut c_void {
    std::ptr::without_provenance_mut(std::process::id() as usize)
}

/// Starts a holder with these flags beside those that share our memory; -1 and `errno` on failure.
///
/// # Safety
/// The stack must be its own until it has ended. Signals should be blocked.
pub(crate) unsafe fn start(stack_top: *mut c_void, flags: c_int, server: *mut c_void) -> c_int {
    // SAFETY: `hold` keeps to its stack and to system calls.
    unsafe { libc::clone(hold, stack_top, libc::CLONE_VM | libc::CLONE_FILES | flags, server) }
}

/// Waits for the end; `server` is the pid of the process whose child it is.
extern "C" fn hold(server: *mut c_void) -> c_int {
    // SAFETY: both calls take and return numbers. The parent may have ended before the first one took effect.
    let orphan = unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::getppid() as usize != server.addr()
    };
    if orphan {
        return 0;
    }
    loop {
        // SAFETY: pause takes nothing and touches no memory of ours.
        unsafe { libc::pause() };
    }
}
