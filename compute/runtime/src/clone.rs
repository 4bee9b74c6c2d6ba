//! `clone3` in the manner of `vfork`: the child runs in our memory while this thread waits.

use std::ffi::c_void;

/// Arguments of `clone3(2)`; flags beyond 32 bits need it.
pub(crate) type CloneArgs = libc::clone_args;

/// What the child runs. It must end by `execve` or `_exit`.
pub(crate) type ChildMain = unsafe extern "C" fn(*mut c_void) -> !;

/// `CLONE_INTO_CGROUP` of `linux/sched.h`.
pub(crate) const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Zeroed arguments with these flags and exit signal.
pub(crate) fn args(flags: u64, exit_signal: i32) -> CloneArgs {
    // SAFETY: clone_args is a plain structure of integers, for which zero is valid.
    let mut args: CloneArgs = unsafe { std::mem::zeroed() };
    args.flags = flags;
    args.exit_signal = exit_signal as u64;
    args
}

/// Starts a child that shares our memory and our stack, runs `main(context)` below the current frame, and resumes
/// this thread once the child has executed another program or ended. Answers the child's pid, or `-errno`.
///
/// The jump into `main` happens inside the assembly, so that no compiled code of this frame runs in the child.
///
/// # Safety
/// `args.flags` must hold `CLONE_VM | CLONE_VFORK` and no stack. `main` must not return, unwind, allocate, take a
/// lock or rely on thread-local state other than `errno`; `context` must stay valid until this returns. Signals
/// should be blocked, for handlers would run in the child.
#[inline(never)]
pub(crate) unsafe fn clone_vfork(args: &CloneArgs, main: ChildMain, context: *mut c_void) -> i64 {
    let result: i64;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel preserves all registers but rax, rcx and r11; the child leaves through `main`, on a stack
    // pointer below this frame and its red zone.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "sub rsp, 256",
            "and rsp, -16",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") std::ptr::from_ref(args),
            in("rsi") size_of::<CloneArgs>(),
            in("r12") context,
            in("r13") main,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above; the kernel preserves all registers but x0.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "sub sp, sp, #256",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk #1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") std::ptr::from_ref(args) => result,
            in("x1") size_of::<CloneArgs>(),
            in("x20") context,
            in("x21") main,
            lateout("x30") _,
        );
    }
    result
}

/// All signals blocked on this thread until dropped: no handler of ours may run in a child that shares our memory.
pub(crate) struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    pub(crate) fn new() -> Self {
        // SAFETY: sigset_t is plain data that sigfillset and pthread_sigmask write before it is read.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            Self(before)
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled by pthread_sigmask.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}
