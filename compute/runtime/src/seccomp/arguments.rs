//! Calls that are allowed with some arguments only.
//!
//! What is refused here takes memory that the kernel counts for nobody, takes what the host has for all, or reaches code
//! that hardly anybody uses. The error numbers are those of kernels that lack the thing, so that programs fall back: `sudo`
//! does without the audit log, Go without MPTCP, `tcpdump` without a filter in the kernel.

use libc::{
    AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX, EAFNOSUPPORT, EINVAL, ENOENT, ENOMEM, ENOPROTOOPT, EPERM,
    EPROTONOSUPPORT, ESOCKTNOSUPPORT, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM,
};

use super::rule::{ALLOW, IGNORE, Rule, WHOLE, refuse};

/// Calls of both profiles.
pub(super) const BOTH: &[(i64, Rule)] = &[
    // A pair of another family is made before the kernel notices that the family has no pairs.
    (
        libc::SYS_socketpair,
        Rule::Match { argument: 0, mask: WHOLE, cases: &[(UNIX, ALLOW)], otherwise: &refuse(EAFNOSUPPORT) },
    ),
    // The limit of core dumps stays as the launch sets it. A lower one would be as good as none where the host has dumps piped
    // to a program of its root. Programs that set it, as `sudo` does, go on.
    (
        libc::SYS_prlimit64,
        Rule::Match {
            argument: 1,
            mask: WHOLE,
            cases: &[(&[libc::RLIMIT_CORE], Rule::Null { argument: 2, then: &ALLOW, otherwise: &IGNORE })],
            otherwise: &ALLOW,
        },
    ),
    (SETRLIMIT, Rule::Match { argument: 0, mask: WHOLE, cases: &[(&[libc::RLIMIT_CORE], IGNORE)], otherwise: &ALLOW }),
    // Huge pages come from one pool of the host.
    (
        libc::SYS_mmap,
        Rule::Match {
            argument: 3,
            mask: libc::MAP_HUGETLB as u32,
            cases: &[(&[0], ALLOW)],
            otherwise: &refuse(ENOMEM),
        },
    ),
    (
        libc::SYS_memfd_create,
        Rule::Match { argument: 1, mask: libc::MFD_HUGETLB, cases: &[(&[0], ALLOW)], otherwise: &refuse(EINVAL) },
    ),
    (
        libc::SYS_shmget,
        Rule::Match {
            argument: 2,
            mask: libc::SHM_HUGETLB as u32,
            cases: &[(&[0], ALLOW)],
            otherwise: &refuse(ENOMEM),
        },
    ),
    // The same as SO_ATTACH_FILTER, for tunnels.
    (
        libc::SYS_ioctl,
        Rule::Match { argument: 1, mask: WHOLE, cases: &[(&[TUNATTACHFILTER], refuse(EINVAL))], otherwise: &ALLOW },
    ),
];

pub(super) const STRICT: &[(i64, Rule)] = &[
    (
        libc::SYS_clone,
        Rule::Match { argument: 0, mask: NEW_NAMESPACES, cases: &[(&[0], ALLOW)], otherwise: &refuse(EPERM) },
    ),
    (
        libc::SYS_socket,
        Rule::Match {
            argument: 0,
            mask: WHOLE,
            cases: &[(UNIX, ALLOW), (INTERNET, INTERNET_SOCKETS), (&[AF_NETLINK as u32], NETLINK)],
            otherwise: &refuse(EAFNOSUPPORT),
        },
    ),
    (
        libc::SYS_setsockopt,
        Rule::Match {
            argument: 1,
            mask: WHOLE,
            cases: &[
                (&[libc::SOL_SOCKET as u32], SOCKET_OPTIONS),
                (&[libc::SOL_TCP as u32], TCP_OPTIONS),
                (&[libc::SOL_IP as u32], IP_OPTIONS),
                (&[libc::SOL_IPV6 as u32], IPV6_OPTIONS),
            ],
            otherwise: &ALLOW,
        },
    ),
    // Filters of programs' own, by either call: see SOCKET_OPTIONS. Containers and browsers need them, and *system* has them.
    (
        libc::SYS_seccomp,
        Rule::Match {
            argument: 0,
            mask: WHOLE,
            cases: &[(&[libc::SECCOMP_SET_MODE_FILTER], refuse(EINVAL))],
            otherwise: &ALLOW,
        },
    ),
    (
        libc::SYS_prctl,
        Rule::Match {
            argument: 0,
            mask: WHOLE,
            cases: &[(
                &[libc::PR_SET_SECCOMP as u32],
                Rule::Match {
                    argument: 1,
                    mask: WHOLE,
                    cases: &[(&[libc::SECCOMP_MODE_FILTER], refuse(EINVAL))],
                    otherwise: &ALLOW,
                },
            )],
            otherwise: &ALLOW,
        },
    ),
];

pub(super) const SYSTEM: &[(i64, Rule)] = &[
    (
        libc::SYS_socket,
        Rule::Match {
            argument: 0,
            mask: WHOLE,
            cases: &[
                (UNIX, ALLOW),
                (INTERNET, INTERNET_SOCKETS),
                (&[AF_NETLINK as u32], ADMINISTRATORS_NETLINK),
                (&[AF_PACKET as u32], ALLOW),
            ],
            otherwise: &refuse(EAFNOSUPPORT),
        },
    ),
    (
        libc::SYS_setsockopt,
        Rule::Match {
            argument: 1,
            mask: WHOLE,
            cases: &[
                (&[libc::SOL_SOCKET as u32], SOCKET_OPTIONS),
                (&[libc::SOL_TCP as u32], TCP_OPTIONS),
                (&[libc::SOL_PACKET as u32], PACKET_OPTIONS),
                (&[libc::SOL_IP as u32], ADMINISTRATORS_IP_OPTIONS),
                (&[libc::SOL_IPV6 as u32], ADMINISTRATORS_IPV6_OPTIONS),
            ],
            otherwise: &ALLOW,
        },
    ),
];

#[cfg(target_arch = "x86_64")]
const SETRLIMIT: i64 = libc::SYS_setrlimit;
/// Which the C library's crate does not name there.
#[cfg(target_arch = "aarch64")]
const SETRLIMIT: i64 = 164;
/// All `CLONE_NEW*` flags.
const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32
    | 0x80; // CLONE_NEWTIME

// Families. Of those that neither profile has, AF_VSOCK would reach the hypervisor, AF_ALG is a frequent source of kernel
// bugs, and most would load a module that nobody has looked at for years. AF_PACKET is for administrators of networks.
const UNIX: &[u32] = &[AF_UNIX as u32];
const INTERNET: &[u32] = &[AF_INET as u32, AF_INET6 as u32];

/// TCP, UDP, ICMP, and raw sockets of any protocol that fits into a packet: no SCTP, DCCP, UDP-Lite, L2TP, MPTCP, SMC.
const INTERNET_SOCKETS: Rule = Rule::Match {
    argument: 1,
    mask: 0xf, // SOCK_TYPE_MASK: above it are flags.
    cases: &[
        (
            &[SOCK_STREAM as u32],
            Rule::Match {
                argument: 2,
                mask: WHOLE,
                cases: &[(&[0, libc::IPPROTO_TCP as u32], ALLOW)],
                otherwise: &refuse(EPROTONOSUPPORT),
            },
        ),
        (
            &[SOCK_DGRAM as u32],
            Rule::Match {
                argument: 2,
                mask: WHOLE,
                cases: &[(
                    &[0, libc::IPPROTO_UDP as u32, libc::IPPROTO_ICMP as u32, libc::IPPROTO_ICMPV6 as u32],
                    ALLOW,
                )],
                otherwise: &refuse(EPROTONOSUPPORT),
            },
        ),
        (
            &[SOCK_RAW as u32],
            Rule::Match { argument: 2, mask: !0xff, cases: &[(&[0], ALLOW)], otherwise: &refuse(EPROTONOSUPPORT) },
        ),
    ],
    otherwise: &refuse(ESOCKTNOSUPPORT),
};

/// Addresses, routes and sockets, as everybody reads them.
const NETLINK: Rule = Rule::Match {
    argument: 2,
    mask: WHOLE,
    cases: &[(&[libc::NETLINK_ROUTE as u32, libc::NETLINK_SOCK_DIAG as u32], ALLOW)],
    otherwise: &refuse(EPROTONOSUPPORT),
};

/// And the packet filter, device events, and what has names instead of numbers (WireGuard, `ethtool`). Not USERSOCK, by which
/// any user queues messages that nobody is charged for, nor XFRM, whose policies have no limit.
const ADMINISTRATORS_NETLINK: Rule = Rule::Match {
    argument: 2,
    mask: WHOLE,
    cases: &[(
        &[
            libc::NETLINK_ROUTE as u32,
            libc::NETLINK_SOCK_DIAG as u32,
            libc::NETLINK_NETFILTER as u32,
            libc::NETLINK_KOBJECT_UEVENT as u32,
            libc::NETLINK_GENERIC as u32,
        ],
        ALLOW,
    )],
    otherwise: &refuse(EPROTONOSUPPORT),
};

/// Filters are compiled into memory that all of the host shares and that is counted for nobody; thousands that went at once
/// have brought a kernel to a stop. Buffers stay below the host's limit for each.
const SOCKET_OPTIONS: Rule = Rule::Match {
    argument: 2,
    mask: WHOLE,
    cases: &[
        (
            &[
                libc::SO_ATTACH_FILTER as u32,
                libc::SO_ATTACH_BPF as u32,
                libc::SO_ATTACH_REUSEPORT_CBPF as u32,
                libc::SO_ATTACH_REUSEPORT_EBPF as u32,
            ],
            refuse(ENOPROTOOPT),
        ),
        (&[libc::SO_SNDBUFFORCE as u32, libc::SO_RCVBUFFORCE as u32], refuse(EPERM)),
    ],
    otherwise: &ALLOW,
};

/// Upper layer protocols are modules, TLS in the kernel above all.
const TCP_OPTIONS: Rule =
    Rule::Match { argument: 2, mask: WHOLE, cases: &[(&[libc::TCP_ULP as u32], refuse(ENOENT))], otherwise: &ALLOW };

/// Rings and tables of fan-outs are counted for nobody: what is listed takes nothing.
const PACKET_OPTIONS: Rule = Rule::Match {
    argument: 2,
    mask: WHOLE,
    cases: &[(
        &[
            libc::PACKET_ADD_MEMBERSHIP as u32,
            libc::PACKET_DROP_MEMBERSHIP as u32,
            libc::PACKET_AUXDATA as u32,
            PACKET_ORIGDEV,
            libc::PACKET_VERSION as u32,
            PACKET_VNET_HDR,
            libc::PACKET_TIMESTAMP as u32,
            libc::PACKET_QDISC_BYPASS as u32,
            PACKET_IGNORE_OUTGOING,
        ],
        ALLOW,
    )],
    otherwise: &refuse(ENOPROTOOPT),
};

/// IPsec for one socket, and what the kernel does for administrators of networks only: multicast routing, xtables.
const IP_OPTIONS: Rule = Rule::Match {
    argument: 2,
    mask: WHOLE,
    cases: &[(IP_POLICIES, refuse(ENOPROTOOPT))],
    otherwise: &Rule::Match { argument: 2, mask: !0x3f, cases: &[(&[0], ALLOW)], otherwise: &refuse(ENOPROTOOPT) },
};
const IPV6_OPTIONS: Rule = Rule::Match {
    argument: 2,
    mask: WHOLE,
    cases: &[
        (IPV6_POLICIES, refuse(ENOPROTOOPT)),
        (&[IP6T_SO_SET_REPLACE, IP6T_SO_SET_ADD_COUNTERS], refuse(ENOPROTOOPT)),
    ],
    otherwise: &Rule::Match { argument: 2, mask: !0x7f, cases: &[(&[0], ALLOW)], otherwise: &refuse(ENOPROTOOPT) },
};

/// Entries of multicast routing have no limit.
const ADMINISTRATORS_IP_OPTIONS: Rule = Rule::Match {
    argument: 2,
    mask: WHOLE,
    cases: &[(IP_POLICIES, refuse(ENOPROTOOPT)), (MULTICAST_ROUTING, refuse(ENOPROTOOPT))],
    otherwise: &ALLOW,
};
const ADMINISTRATORS_IPV6_OPTIONS: Rule = Rule::Match {
    argument: 2,
    mask: WHOLE,
    cases: &[(IPV6_POLICIES, refuse(ENOPROTOOPT)), (MULTICAST_ROUTING, refuse(ENOPROTOOPT))],
    otherwise: &ALLOW,
};

/// `IP_IPSEC_POLICY` and `IP_XFRM_POLICY`, and those of IPv6: IPsec of a socket, in the words of two interfaces.
const IP_POLICIES: &[u32] = &[16, libc::IP_XFRM_POLICY as u32];
const IPV6_POLICIES: &[u32] = &[34, libc::IPV6_XFRM_POLICY as u32];
/// `MRT_*` of `linux/mroute.h`, and `MRT6_*`.
const MULTICAST_ROUTING: &[u32] = &[200, 201, 202, 203, 204, 205, 206, 207, 208, 209, 210, 211, 212];
/// `linux/netfilter_ipv6/ip6_tables.h`.
const IP6T_SO_SET_REPLACE: u32 = 64;
const IP6T_SO_SET_ADD_COUNTERS: u32 = 65;
/// `linux/if_packet.h`.
const PACKET_ORIGDEV: u32 = 9;
const PACKET_VNET_HDR: u32 = 15;
const PACKET_IGNORE_OUTGOING: u32 = 23;
/// `linux/if_tun.h`, where `struct sock_fprog` has 16 bytes.
const TUNATTACHFILTER: u32 = 0x4010_54d5;
