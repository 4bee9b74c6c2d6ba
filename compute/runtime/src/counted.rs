//! Limits of what the kernel counts for a user and for the makers of its user namespaces, up to a user of the host.
//!
//! A namespace keeps the limits that its maker had, and what happens in it is held against them (`inc_rlimit_ucounts` in
//! kernel/ucount.c). So the ward is made by a user of the host that is nobody else, with limits as high as they go, and each
//! sandbox's namespace with a share: a sandbox that takes all it can leaves the others theirs, and the host's root all.

use std::ptr::null_mut;

/// One of each of [`RESOURCES`].
pub(crate) type Counted = [u64; 3];

/// POSIX message queues (bytes), signals and timers that are queued, locked segments of shared memory (bytes).
#[expect(clippy::unnecessary_cast, reason = "the type differs between C libraries")]
const RESOURCES: [u32; 3] = [libc::RLIMIT_MSGQUEUE as u32, libc::RLIMIT_SIGPENDING as u32, libc::RLIMIT_MEMLOCK as u32];

/// As much as there is: all, or the hard limits of a server that may not raise them (`CAP_SYS_RESOURCE`).
pub(crate) const ALL: Counted = [libc::RLIM64_INFINITY; 3];

/// The most that one sandbox needs: queues as any system has them, a timer or two for each of its processes, and what some
/// databases lock.
const MOST: Counted = [819_200, 4096, 64 << 20];

/// A sandbox's share of what the ward has.
pub(crate) fn share(of: Counted) -> Counted {
    std::array::from_fn(|index| MOST[index].min(of[index] / 4))
}

/// Sets the limits of this process, which is a child in our memory, and answers what they are now.
///
/// # Safety
/// Limits are a process's, not a thread's: the caller must be no thread of the server. Makes system calls only.
pub(crate) unsafe fn apply(limits: Counted) -> Counted {
    let mut applied = limits;
    for (resource, applied) in RESOURCES.into_iter().zip(&mut applied) {
        let mut limit = libc::rlimit64 { rlim_cur: *applied, rlim_max: *applied };
        // SAFETY: the calls read or write the structure, which is ours.
        unsafe {
            let failed = libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, null_mut::<u8>()) < 0;
            if failed && libc::syscall(libc::SYS_prlimit64, 0, resource, null_mut::<u8>(), &raw mut limit) == 0 {
                limit.rlim_cur = limit.rlim_max;
                libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, null_mut::<u8>());
            }
        }
        *applied = limit.rlim_cur;
    }
    applied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_leaves_room_for_others() {
        assert_eq!(share(ALL), MOST);
        assert_eq!(share([819_200, 1 << 20, 8 << 20]), [204_800, 4096, 2 << 20]);
        assert_eq!(share([0, 3, 4]), [0, 0, 1]);
    }
}
