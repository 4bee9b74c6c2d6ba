//! Starts a program as the sandbox user: `clone(2)` with shared memory, then `execve(2)`.
//!
//! The child borrows the agent's memory until it executes (`CLONE_VM | CLONE_VFORK`, as `posix_spawn` does), so its
//! start costs the same however large the agent is, and it reports a failure by writing to that memory. It allocates
//! nothing and changes its ids by raw system calls: the C library's wrappers would change those of all threads.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use libc::{c_char, c_int, c_void};
use nix::unistd::Pid;

use crate::guest::identity::Identity;

/// The child needs a few hundred bytes; the rest is for the C library's wrappers.
const STACK: usize = 32 * 1024;
/// Descriptors are first moved from this number on, out of the way of the child's own ones.
const PARKED: c_int = 16;

/// What the agent's children say of how gladly they are killed for lack of memory: with half of the memory on top of their
/// own use they go before the agent, whose end would end the sandbox. Raising is always allowed, and passed on to what they
/// start (proc_pid_oom_score_adj(5)).
const OOM_SCORE: &str = "500";

/// All that the child needs, made before it exists.
#[derive(Debug)]
pub struct Launch<'a> {
    pub program: CString,
    /// With the program's name first.
    pub arguments: Vec<CString>,
    /// `NAME=value` each.
    pub environment: Vec<CString>,
    /// Entered as the user.
    pub directory: CString,
    /// The child's descriptors 0, 1, 2 and so on; it gets no others.
    pub descriptors: &'a [BorrowedFd<'a>],
    /// Descriptor 0 becomes the controlling terminal of the child's session.
    pub terminal: bool,
}

/// Why a program did not start.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("cannot enter the working directory {directory}: {source}")]
    Directory { directory: String, source: io::Error },
    #[error("cannot execute {program}: {source}")]
    Execute { program: String, source: io::Error },
    /// The limit on processes, memory or descriptors.
    #[error("cannot start a process: {0}")]
    Process(#[source] io::Error),
    #[error("the sandbox is stopping")]
    Stopping,
}

/// The step that a child failed at.
#[derive(Debug, Clone, Copy)]
enum Step {
    Prepare,
    Directory,
    Execute,
}

/// The stack of children, one at a time.
pub struct ChildStack(Box<[u8]>);

impl Default for ChildStack {
    fn default() -> Self {
        Self(vec![0; STACK].into_boxed_slice())
    }
}

/// What parent and child share while the child has not executed.
struct Plan<'a> {
    program: &'a CStr,
    arguments: &'a [*const c_char],
    environment: &'a [*const c_char],
    directory: &'a CStr,
    descriptors: &'a mut [RawFd],
    terminal: bool,
    /// None without the privilege to change ids, as in tests.
    identity: Option<&'a Identity>,
    failure: Option<(Step, c_int)>,
}

/// Starts the program in a session of its own. The caller reaps it.
pub fn spawn(launch: &Launch<'_>, identity: &Identity, stack: &mut ChildStack) -> Result<Pid, SpawnError> {
    let pointers = |strings: &[CString]| -> Vec<*const c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
    };
    let arguments = pointers(&launch.arguments);
    let environment = pointers(&launch.environment);
    let mut descriptors: Vec<RawFd> = launch.descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let mut plan = Plan {
        program: &launch.program,
        arguments: &arguments,
        environment: &environment,
        directory: &launch.directory,
        descriptors: &mut descriptors,
        terminal: launch.terminal,
        identity: nix::unistd::Uid::current().is_root().then_some(identity),
        failure: None,
    };
    let top = stack.0.as_mut_ptr_range().end;
    // SAFETY: the range's end is within its allocation plus one; the ABI wants 16 bytes of alignment.
    let top = unsafe { top.sub(top as usize % 16) };
    // SAFETY: the stack is exclusively ours and large enough; `plan` outlives the call, which returns only after the
    // child has executed or ended (CLONE_VFORK), and nothing reads it meanwhile.
    let pid = unsafe {
        libc::clone(
            child,
            top.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            (&raw mut plan).cast::<c_void>(),
        )
    };
    if pid < 0 {
        return Err(SpawnError::Process(io::Error::last_os_error()));
    }
    // SAFETY: `plan` is a local; the child wrote to it through the pointer given to `clone`, unseen by the compiler.
    let failure = unsafe { ptr::read_volatile(&raw const plan.failure) };
    let Some((step, errno)) = failure else {
        // Only now: as long as the child shared the agent's memory, this file was as closed as the agent's own. What the
        // program started before keeps the agent's score, and is then told from it by its use alone, as without this; so a
        // failure doesn't matter either.
        let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE);
        return Ok(Pid::from_raw(pid));
    };
    // It has ended already: collect it, so that nobody else must know of it.
    // SAFETY: a plain system call; the status is not wanted.
    unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
    let source = io::Error::from_raw_os_error(errno);
    Err(match step {
        Step::Prepare => SpawnError::Process(source),
        Step::Directory => SpawnError::Directory { directory: text(&launch.directory), source },
        Step::Execute => SpawnError::Execute { program: text(&launch.program), source },
    })
}

fn text(string: &CStr) -> String {
    string.to_string_lossy().into_owned()
}

extern "C" fn child(plan: *mut c_void) -> c_int {
    // SAFETY: the parent passes its plan and waits.
    let plan = unsafe { &mut *plan.cast::<Plan<'_>>() };
    // SAFETY: this is the child, before it executes, alone on its stack.
    let step = unsafe { become_program(plan) };
    plan.failure = Some((step, errno()));
    // SAFETY: ends this process without running the parent's destructors.
    unsafe { libc::_exit(127) }
}

fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)
}

/// Returns only on failure, with the error in `errno`.
///
/// # Safety
/// Only in a fresh child that shares memory with a waiting parent: no allocation, no lock.
unsafe fn become_program(plan: &mut Plan<'_>) -> Step {
    // SAFETY: system calls on values that the parent keeps alive; see each line of the manual pages for the order:
    // the terminal needs the new session, the directory the new ids, and signals are unblocked last.
    unsafe {
        if libc::setsid() < 0 || !arrange_descriptors(plan.descriptors) {
            return Step::Prepare;
        }
        if plan.terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
            return Step::Prepare;
        }
        if let Some(identity) = plan.identity
            && !assume(identity)
        {
            return Step::Prepare;
        }
        if libc::chdir(plan.directory.as_ptr()) < 0 {
            return Step::Directory;
        }
        // The agent ignores SIGPIPE, and ignored signals stay ignored.
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(libc::SIGPIPE, &raw const default, ptr::null_mut());
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        libc::execve(plan.program.as_ptr(), plan.arguments.as_ptr(), plan.environment.as_ptr());
    }
    Step::Execute
}

/// # Safety
/// As [`become_program`]: the descriptor table is the child's own.
unsafe fn arrange_descriptors(descriptors: &mut [RawFd]) -> bool {
    // SAFETY: plain system calls on numbers; each source stays open until all are parked out of the targets' way.
    unsafe {
        for descriptor in &mut *descriptors {
            *descriptor = libc::fcntl(*descriptor, libc::F_DUPFD_CLOEXEC, PARKED);
        }
        let mut target: c_int = 0;
        for parked in descriptors {
            if libc::dup2(*parked, target) < 0 {
                return false;
            }
            target += 1;
        }
        libc::syscall(libc::SYS_close_range, target, c_int::MAX, 0) == 0
    }
}

/// # Safety
/// As [`become_program`].
unsafe fn assume(identity: &Identity) -> bool {
    // SAFETY: raw calls, so that only this child changes; the list of groups outlives the call.
    unsafe {
        libc::syscall(libc::SYS_setgroups, identity.groups.len(), identity.groups.as_ptr()) == 0
            && libc::syscall(libc::SYS_setresgid, identity.gid, identity.gid, identity.gid) == 0
            && libc::syscall(libc::SYS_setresuid, identity.uid, identity.uid, identity.uid) == 0
    }
}
