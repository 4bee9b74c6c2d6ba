//! The system calls that a sandbox may make, as a filter for the kernel.
//!
//! An allow-list: what is not named is refused with `EPERM`, and numbers newer than the list with `ENOSYS`, so that
//! programs fall back. The list is compiled to a binary tree over ranges of numbers: about eight comparisons per call
//! and 80 µs to load, where a linear list costs 400 µs (measured). Calls that are allowed with some arguments only have a
//! leaf of their own, and cost the others nothing.

mod allowed;
mod arguments;
mod rule;
mod tool;
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
    rules: &[arguments::BOTH, arguments::STRICT],
};
const SYSTEM: Calls<'_> = Calls {
    allowed: &[allowed::STRICT, allowed::SYSTEM],
    absent: &[allowed::ABSENT],
    rules: &[arguments::BOTH, arguments::SYSTEM],
};

impl Filter {
    /// The filter of the *strict* profile: no mounts, no namespaces, nothing that reaches the host.
    pub fn strict() -> Self {
        Self { program: tree::compile(STRICT) }
    }

    /// The filter of the *system* profile: mounts and namespaces too.
    pub fn system() -> Self {
        Self { program: tree::compile(SYSTEM) }
    }

    /// The filter of programs that work on a disk image which a tenant shaped.
    pub(crate) fn tool() -> Self {
        Self { program: tool::compile() }
    }

    pub(crate) fn program(&self) -> &[sock_filter] {
        &self.program
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::rule::Rule;
    use super::tree::Verdict::{self, Allow, Refuse};
    use super::*;

    /// Runs the program as the kernel would: only the instructions that we emit.
    fn verdict(filter: &Filter, arch: u32, number: u32, arguments: &[u64; 6]) -> u32 {
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
                        offset => {
                            let beyond = offset.checked_sub(tree::FIRST_ARGUMENT).expect("an argument");
                            assert_eq!(beyond % 4, 0, "a half");
                            (arguments[beyond as usize / 8] >> (8 * (beyond % 8))) as u32
                        }
                    }
                }
                tree::AND => accumulator &= step.k,
                tree::JUMP => at += step.k as usize,
                tree::RETURN => return step.k,
                code => {
                    let taken = match code {
                        tree::JUMP_EQUAL => accumulator == step.k,
                        tree::JUMP_NOT_LESS => accumulator >= step.k,
                        other => panic!("unexpected instruction {other:#x}"),
                    };
                    at += usize::from(if taken { step.jt } else { step.jf });
                }
            }
        }
    }

    fn both() -> &'static [(Filter, Calls<'static>); 2] {
        static BOTH: LazyLock<[(Filter, Calls<'static>); 2]> =
            LazyLock::new(|| [(Filter::strict(), STRICT), (Filter::system(), SYSTEM)]);
        &BOTH
    }

    fn native(filter: &Filter, number: libc::c_long, arguments: &[u64; 6]) -> u32 {
        verdict(filter, tree::ARCH, number as u32, arguments)
    }

    /// That the call has these verdicts in *strict* and in *system*; `arguments` are the first ones.
    #[track_caller]
    fn check(number: libc::c_long, arguments: &[i64], strict: Verdict, system: Verdict) {
        for ((filter, _), expected) in both().iter().zip([strict, system]) {
            for (upper, beyond) in [(0, 0), (0xdead_beef << 32, u64::MAX)] {
                // The kernel does not look at the upper half, nor at arguments that the call does not have.
                let mut all = [beyond; 6];
                for (to, from) in all.iter_mut().zip(arguments) {
                    *to = u64::from(*from as u32) | upper;
                }
                assert_eq!(native(filter, number, &all), expected.code(), "call {number} with {arguments:?}");
            }
        }
    }

    /// All values that a rule compares with, by argument.
    fn values(rule: &Rule, found: &mut [Vec<u32>; 6]) {
        let Rule::Match { argument, mask, cases, otherwise } = rule else { return };
        let list = &mut found[usize::from(*argument)];
        list.extend([!mask, *mask, mask & mask.wrapping_neg()]);
        list.extend(cases.iter().flat_map(|(values, _)| values.iter().copied()));
        for rule in cases.iter().map(|(_, rule)| rule).chain([*otherwise]) {
            values(rule, found);
        }
    }

    #[test]
    fn every_number_gets_its_verdict() {
        for (filter, calls) in both() {
            for number in 0..600 {
                let rule = calls.rule(number);
                if let Rule::Always(verdict) = rule {
                    assert_eq!(native(filter, number, &[0; 6]), verdict.code(), "system call {number}");
                }
            }
        }
    }

    /// The compiled rule agrees with the written one at all values that it compares with, and beside them.
    #[test]
    fn every_rule_decides_as_it_is_written() {
        for (filter, calls) in both() {
            for &(number, rule) in calls.rules.iter().copied().flatten() {
                assert_eq!(calls.rule(number), rule, "system call {number} has one rule, and is allowed");
                let mut compared = <[Vec<u32>; 6]>::default();
                values(&rule, &mut compared);
                let mut cases = vec![[0u64; 6]];
                for (argument, values) in compared.iter_mut().enumerate() {
                    let beside = values.iter().flat_map(|value| [value.wrapping_sub(1), *value, value.wrapping_add(1)]);
                    *values = beside.chain([0, u32::MAX]).collect();
                    values.sort_unstable();
                    values.dedup();
                    let extended = cases.iter().flat_map(|case| {
                        values.iter().map(move |value| {
                            let mut case = *case;
                            case[argument] = u64::from(*value);
                            case
                        })
                    });
                    cases = extended.collect();
                }
                for arguments in cases {
                    let expected = rule.decide(&arguments).code();
                    assert_eq!(native(filter, number, &arguments), expected, "system call {number} with {arguments:?}");
                }
            }
        }
    }

    #[test]
    fn rules_longer_than_a_jump_reaches_are_compiled() {
        const VALUES: &[u32] = &{
            let mut values = [0; 300];
            let mut index = 0;
            while index < values.len() {
                values[index] = 7 * index as u32;
                index += 1;
            }
            values
        };
        const INNER: Rule =
            Rule::Match { argument: 1, mask: 0xffff, cases: &[(VALUES, rule::ALLOW)], otherwise: &rule::refuse(1) };
        const OUTER: Rule =
            Rule::Match { argument: 0, mask: rule::WHOLE, cases: &[(&[1, 2], INNER)], otherwise: &rule::refuse(2) };
        let calls = Calls { allowed: &[&[3, 5]], absent: &[], rules: &[&[(3, OUTER)]] };
        let filter = Filter { program: tree::compile(calls) };
        for first in 0..4 {
            for second in (0..2200).chain([0x1_0000, 0x1_0001]) {
                let arguments = [first, second, 0, 0, 0, 0];
                assert_eq!(native(&filter, 3, &arguments), OUTER.decide(&arguments).code(), "{arguments:?}");
            }
        }
        assert_eq!(native(&filter, 5, &[0; 6]), Allow.code());
        assert_eq!(native(&filter, 4, &[0; 6]), Refuse(libc::EPERM).code());
    }

    #[test]
    fn doors_to_the_host_are_shut() {
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
            check(number, &[], Refuse(libc::EPERM), Refuse(libc::EPERM));
        }
        for number in [libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key, libc::SYS_io_setup, 600] {
            check(number, &[], Refuse(libc::ENOSYS), Refuse(libc::ENOSYS));
        }
    }

    #[test]
    fn mounts_and_namespaces_are_for_system() {
        for number in [libc::SYS_mount, libc::SYS_move_mount, libc::SYS_unshare, libc::SYS_setns, libc::SYS_pivot_root]
        {
            check(number, &[], Refuse(libc::EPERM), Allow);
        }
        check(libc::SYS_clone, &[libc::SIGCHLD.into()], Allow, Allow);
        for flag in [libc::CLONE_NEWUSER, libc::CLONE_NEWNS, libc::CLONE_NEWNET, 0x80] {
            check(libc::SYS_clone, &[(flag | libc::SIGCHLD).into()], Refuse(libc::EPERM), Allow);
        }
        check(libc::SYS_clone3, &[], Refuse(libc::ENOSYS), Allow);
    }

    #[test]
    fn the_limit_of_core_dumps_is_read_and_not_set() {
        let core = u64::from(libc::RLIMIT_CORE);
        for (filter, _) in both() {
            let set = |resource, new| native(filter, libc::SYS_prlimit64, &[0, resource, new, 0, 0, 0]);
            assert_eq!(set(core, 0), Allow.code());
            for pointer in [0x1000, 1 << 32, u64::MAX] {
                assert_eq!(set(core, pointer), Refuse(0).code());
                assert_eq!(set(0xdead_beef << 32 | core, pointer), Refuse(0).code());
                assert_eq!(set(libc::RLIMIT_NOFILE as u64, pointer), Allow.code());
            }
            #[cfg(target_arch = "x86_64")]
            assert_eq!(native(filter, libc::SYS_setrlimit, &[core, 0x1000, 0, 0, 0, 0]), Refuse(0).code());
        }
    }

    fn socket(family: i32, kind: i32, protocol: i32, strict: Verdict, system: Verdict) {
        check(libc::SYS_socket, &[family.into(), kind.into(), protocol.into()], strict, system);
    }

    #[test]
    fn sockets_are_of_the_listed_families() {
        let refused = Refuse(libc::EAFNOSUPPORT);
        for family in 0..64 {
            let (strict, system) = match family {
                libc::AF_UNIX | libc::AF_INET | libc::AF_INET6 | libc::AF_NETLINK => (Allow, Allow),
                libc::AF_PACKET => (refused, Allow),
                _ => (refused, refused),
            };
            socket(family, libc::SOCK_RAW, 0, strict, system);
            let pair = if family == libc::AF_UNIX { Allow } else { refused };
            check(libc::SYS_socketpair, &[family.into(), libc::SOCK_STREAM.into(), 0], pair, pair);
        }
    }

    #[test]
    fn internet_sockets_are_of_the_usual_protocols() {
        let (no_protocol, no_type) = (Refuse(libc::EPROTONOSUPPORT), Refuse(libc::ESOCKTNOSUPPORT));
        for family in [libc::AF_INET, libc::AF_INET6] {
            for flags in [0, libc::SOCK_CLOEXEC, libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK] {
                for protocol in 0..600 {
                    let among = |listed: &[i32]| if listed.contains(&protocol) { Allow } else { no_protocol };
                    let stream = among(&[0, libc::IPPROTO_TCP]);
                    socket(family, libc::SOCK_STREAM | flags, protocol, stream, stream);
                    let datagrams = among(&[0, libc::IPPROTO_UDP, libc::IPPROTO_ICMP, libc::IPPROTO_ICMPV6]);
                    socket(family, libc::SOCK_DGRAM | flags, protocol, datagrams, datagrams);
                    let raw = if protocol < 256 { Allow } else { no_protocol };
                    socket(family, libc::SOCK_RAW | flags, protocol, raw, raw);
                }
                for kind in (0..16).filter(|kind| !(1..=3).contains(kind)) {
                    socket(family, kind | flags, 0, no_type, no_type);
                }
            }
            socket(family, libc::SOCK_STREAM, -1, no_protocol, no_protocol);
            socket(family, libc::SOCK_RAW, -1, no_protocol, no_protocol);
        }
    }

    #[test]
    fn netlink_is_for_networks() {
        let refused = Refuse(libc::EPROTONOSUPPORT);
        for protocol in (0..40).chain([-1]) {
            let strict = if [0, 4].contains(&protocol) { Allow } else { refused };
            let system = if [0, 4, 12, 15, 16].contains(&protocol) { Allow } else { refused };
            for kind in [libc::SOCK_RAW, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC] {
                socket(libc::AF_NETLINK, kind, protocol, strict, system);
            }
        }
    }

    fn option(level: i32, name: i32, strict: Verdict, system: Verdict) {
        check(libc::SYS_setsockopt, &[7, level.into(), name.into()], strict, system);
    }

    #[test]
    fn options_that_take_memory_of_the_host_are_refused() {
        let none = Refuse(libc::ENOPROTOOPT);
        for name in 0..100 {
            let verdict = match name {
                libc::SO_ATTACH_FILTER
                | libc::SO_ATTACH_BPF
                | libc::SO_ATTACH_REUSEPORT_CBPF
                | libc::SO_ATTACH_REUSEPORT_EBPF => none,
                libc::SO_SNDBUFFORCE | libc::SO_RCVBUFFORCE => Refuse(libc::EPERM),
                _ => Allow,
            };
            option(libc::SOL_SOCKET, name, verdict, verdict);
            let packets = if [1, 2, 8, 9, 10, 15, 17, 20, 23].contains(&name) { Allow } else { none };
            // Without packet sockets nobody has a use for them.
            option(libc::SOL_PACKET, name, Allow, packets);
            let tcp = if name == libc::TCP_ULP { Refuse(libc::ENOENT) } else { Allow };
            option(libc::SOL_TCP, name, tcp, tcp);
        }
    }

    #[test]
    fn tables_of_the_kernel_are_for_administrators() {
        let none = Refuse(libc::ENOPROTOOPT);
        for name in 0..300 {
            let (strict, system) = match name {
                16 | libc::IP_XFRM_POLICY | 200..=212 => (none, none),
                64.. => (none, Allow),
                _ => (Allow, Allow),
            };
            option(libc::SOL_IP, name, strict, system);
            let (strict, system) = match name {
                34 | libc::IPV6_XFRM_POLICY | 200..=212 => (none, none),
                64 | 65 | 128.. => (none, Allow),
                _ => (Allow, Allow),
            };
            option(libc::SOL_IPV6, name, strict, system);
        }
    }

    #[test]
    fn huge_pages_and_filters_of_tunnels_are_refused() {
        let private = i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        check(libc::SYS_mmap, &[0, 4096, 3, private, -1, 0], Allow, Allow);
        let refused = Refuse(libc::ENOMEM);
        check(libc::SYS_mmap, &[0, 4096, 3, private | i64::from(libc::MAP_HUGETLB), -1, 0], refused, refused);
        check(libc::SYS_memfd_create, &[0, libc::MFD_CLOEXEC.into()], Allow, Allow);
        let refused = Refuse(libc::EINVAL);
        check(libc::SYS_memfd_create, &[0, (libc::MFD_CLOEXEC | libc::MFD_HUGETLB).into()], refused, refused);
        check(libc::SYS_shmget, &[0, 4096, 0o1600], Allow, Allow);
        check(
            libc::SYS_shmget,
            &[0, 4096, 0o1600 | i64::from(libc::SHM_HUGETLB)],
            Refuse(libc::ENOMEM),
            Refuse(libc::ENOMEM),
        );
        check(libc::SYS_ioctl, &[7, 0x4010_54d5], refused, refused);
        for request in [0x5413, 0x4004_54ca, 0x4010_54d4, 0x4010_54d6] {
            check(libc::SYS_ioctl, &[7, request], Allow, Allow);
        }
    }

    #[test]
    fn filters_of_programs_are_for_system() {
        let refused = Refuse(libc::EINVAL);
        check(libc::SYS_seccomp, &[1, 0], refused, Allow);
        for operation in [0, 2, 3] {
            check(libc::SYS_seccomp, &[operation, 0], Allow, Allow);
        }
        check(libc::SYS_prctl, &[libc::PR_SET_SECCOMP.into(), 2], refused, Allow);
        check(libc::SYS_prctl, &[libc::PR_SET_SECCOMP.into(), 1], Allow, Allow);
        for option in [libc::PR_GET_SECCOMP, libc::PR_SET_NAME, libc::PR_SET_NO_NEW_PRIVS] {
            check(libc::SYS_prctl, &[option.into(), 2], Allow, Allow);
        }
    }

    #[test]
    fn another_architecture_has_no_calls() {
        for (filter, _) in both() {
            assert_eq!(verdict(filter, 0x4000_0003, 1, &[0; 6]), Refuse(libc::ENOSYS).code());
        }
    }

    #[test]
    fn programs_are_of_a_length_that_the_kernel_takes() {
        for (filter, _) in both() {
            assert!(filter.program.len() < 1024, "{} instructions", filter.program.len());
        }
    }
}
