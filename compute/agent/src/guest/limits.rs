//! Limits of the agent's own process, set before anything else runs.

use std::io;

use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use sebring_types::agent::HANDSHAKE_FD;

/// Freed memory beyond this goes back to the kernel at once. Larger blocks are mapped, and go back by themselves;
/// below it are the buffers that every upload uses again and again.
const KEPT_FREE: libc::c_int = 1024 * 1024;

/// Closes what was inherited by mistake, hides the agent from the sandbox, adopts orphans, and keeps the heap small.
pub fn apply() -> io::Result<()> {
    close_strangers()?;
    // /proc/1/{exe,mem,root,fd} stay closed to root inside as well.
    prctl::set_dumpable(false)?;
    // It was executed by a descriptor, after whose number older kernels name it.
    prctl::set_name(c"sebring-agent")?;
    // Pid 1 adopts orphans anyway; elsewhere, as in tests, it is asked for.
    prctl::set_child_subreaper(true)?;
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    bound_heap();
    Ok(())
}

/// Nothing but the standard streams and the handshake was meant for the agent.
fn close_strangers() -> io::Result<()> {
    // SAFETY: nothing in this program has opened a descriptor yet.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, HANDSHAKE_FD + 1, libc::c_int::MAX, 0) };
    if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// One heap for all threads, for they come and go and each heap of theirs would stay; and fixed bounds, for those
/// that adapt keep half of the largest answer ever made.
#[cfg(target_env = "gnu")]
fn bound_heap() {
    for (what, value) in
        [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, KEPT_FREE), (libc::M_TRIM_THRESHOLD, KEPT_FREE)]
    {
        // SAFETY: sets a number in the allocator, before a second thread exists.
        unsafe { libc::mallopt(what, value) };
    }
}

/// Gives free memory back that lies between what is in use.
#[cfg(target_env = "gnu")]
pub fn return_memory() {
    // SAFETY: the allocator looks after its own locks.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
fn bound_heap() {}

#[cfg(not(target_env = "gnu"))]
pub fn return_memory() {}
