//! The system calls that a sandbox may make, as a filter for the kernel.
//!
//! An allow-list: what is not named is refused with `EPERM`, and numbers newer than the list with `ENOSYS`, so that
//! programs fall back. The list is compiled to a binary tree over ranges of numbers: about eight comparisons per call
//! and 60 µs to load, where a linear list costs 400 µs (measured).

mod allowed;
mod tree;

use libc::sock_filter;

use tree::Calls;

/// A filter ready to be loaded.
#[derive(Debug, Clone)]
pub struct Filter {
    program: Vec<sock_filter>,
}

const STRICT: Calls<'_> = Calls {
    allowed: &[allowed::STRICT],
    // The flags of clone3 are behind a pointer that a filter can't follow: the C library falls back to clone.
    absent: &[allowed::ABSENT, &[libc::SYS_clone3]],
    namespaces: false,
};
const SYSTEM: Calls<'_> =
    Calls { allowed: &[allowed::STRICT, allowed::SYSTEM], absent: &[allowed::ABSENT], namespaces: true };

impl Filter {
    /// The filter of the *strict* profile: no mounts, no namespaces, nothing that reaches the host.
    pub fn strict() -> Self {
        Self { program: tree::compile(STRICT) }
    }

    /// The filter of the *system* profile: mounts and namespaces too.
    pub fn system() -> Self {
        Self { program: tree::compile(SYSTEM) }
    }

    pub(crate) fn program(&self) -> &[sock_filter] {
        &self.program
    }
}

#[cfg(test)]
mod tests {
    use super::tree::Verdict;
    use super::*;

    /// Runs the program as the kernel would: only the instructions that we emit.
    fn verdict(filter: &Filter, arch: u32, number: u32, argument: u32) -> u32 {
        let mut accumulator = 0;
        let mut at = 0;
        loop {
            let step = filter.program[at];
            at += 1;
            match u32::from(step.code) {
                tree::LOAD => {
                    accumulator = match step.k {
                        0 => number,
                        4 => arch,
                        16 => argument,
                        other => panic!("unexpected load of offset {other}"),
                    }
                }
                tree::RETURN => return step.k,
                code => {
                    let taken = match code {
                        tree::JUMP_EQUAL => accumulator == step.k,
                        tree::JUMP_NOT_LESS => accumulator >= step.k,
                        tree::JUMP_ANY_BIT => accumulator & step.k != 0,
                        other => panic!("unexpected instruction {other:#x}"),
                    };
                    at += usize::from(if taken { step.jt } else { step.jf });
                }
            }
        }
    }

    fn both() -> [(Filter, Calls<'static>); 2] {
        [(Filter::strict(), STRICT), (Filter::system(), SYSTEM)]
    }

    fn native(filter: &Filter, number: libc::c_long, argument: u32) -> u32 {
        verdict(filter, tree::ARCH, number as u32, argument)
    }

    #[test]
    fn every_number_gets_its_verdict() {
        for (filter, calls) in both() {
            for number in (0..600).filter(|number| !tree::CONDITIONAL.contains(number)) {
                assert_eq!(native(&filter, number, 0), calls.verdict(number).code(), "system call {number}");
            }
        }
    }

    #[test]
    fn doors_to_the_host_are_shut() {
        for (filter, _) in both() {
            for number in [
                libc::SYS_bpf,
                libc::SYS_perf_event_open,
                libc::SYS_kexec_load,
                libc::SYS_init_module,
                libc::SYS_finit_module,
                libc::SYS_delete_module,
                libc::SYS_userfaultfd,
                libc::SYS_io_uring_setup,
                libc::SYS_open_by_handle_at,
                libc::SYS_quotactl,
                libc::SYS_swapon,
                libc::SYS_reboot,
                libc::SYS_syslog,
                libc::SYS_clock_settime,
            ] {
                assert_eq!(native(&filter, number, 0), Verdict::Refuse(libc::EPERM).code(), "system call {number}");
            }
            for number in [libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key, 600] {
                assert_eq!(native(&filter, number, 0), Verdict::Refuse(libc::ENOSYS).code(), "system call {number}");
            }
        }
    }

    #[test]
    fn mounts_and_namespaces_are_for_system() {
        let (strict, system) = (Filter::strict(), Filter::system());
        for number in [libc::SYS_mount, libc::SYS_move_mount, libc::SYS_unshare, libc::SYS_setns, libc::SYS_pivot_root]
        {
            assert_eq!(native(&strict, number, 0), Verdict::Refuse(libc::EPERM).code(), "system call {number}");
            assert_eq!(native(&system, number, 0), Verdict::Allow.code(), "system call {number}");
        }
        for (flags, verdict) in
            [(libc::SIGCHLD, Verdict::Allow), (libc::CLONE_NEWUSER | libc::SIGCHLD, Verdict::Refuse(libc::EPERM))]
        {
            assert_eq!(native(&strict, libc::SYS_clone, flags as u32), verdict.code());
            assert_eq!(native(&system, libc::SYS_clone, flags as u32), Verdict::Allow.code());
        }
        assert_eq!(native(&strict, libc::SYS_clone3, 0), Verdict::Refuse(libc::ENOSYS).code());
        assert_eq!(native(&system, libc::SYS_clone3, 0), Verdict::Allow.code());
    }

    #[test]
    fn sockets_are_of_the_listed_families() {
        for (filter, _) in both() {
            for call in [libc::SYS_socket, libc::SYS_socketpair] {
                for family in 0..64 {
                    let listed = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET];
                    let expected =
                        if listed.contains(&family) { Verdict::Allow } else { Verdict::Refuse(libc::EAFNOSUPPORT) };
                    assert_eq!(native(&filter, call, family as u32), expected.code(), "family {family}");
                }
            }
        }
    }

    #[test]
    fn another_architecture_has_no_calls() {
        for (filter, _) in both() {
            assert_eq!(verdict(&filter, 0x4000_0003, 1, 0), Verdict::Refuse(libc::ENOSYS).code());
        }
    }
}
