//! Compiles a list of numbers to a binary tree of comparisons (classic BPF, `seccomp(2)`).

use libc::sock_filter;

pub(super) const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
pub(super) const JUMP_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
pub(super) const JUMP_NOT_LESS: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
pub(super) const JUMP_ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
pub(super) const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// Kinds of sockets that sandboxes may open. Of the others AF_VSOCK would reach the hypervisor, AF_ALG is a frequent
/// source of kernel bugs, and most would load a module that nobody has looked at for years.
const FAMILIES: [i32; 5] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET];

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The low half of the first argument; both supported architectures are little-endian.
const FIRST_ARGUMENT: u32 = 16;

/// `AUDIT_ARCH_*` of `linux/audit.h`.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCH: u32 = 0xc000_00b7;

/// Calls whose verdict may depend on an argument.
#[cfg(test)]
pub(super) const CONDITIONAL: [i64; 3] = [libc::SYS_clone, libc::SYS_socket, libc::SYS_socketpair];

/// All `CLONE_NEW*` flags.
const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32
    | 0x80; // CLONE_NEWTIME

/// What the kernel does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allow,
    /// The call fails with this error number.
    Refuse(i32),
}

impl Verdict {
    pub(super) fn code(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Refuse(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
        }
    }
}

/// What a profile allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calls<'a> {
    pub allowed: &'a [&'a [i64]],
    /// Refused with `ENOSYS`.
    pub absent: &'a [&'a [i64]],
    /// Whether `clone` may make namespaces.
    pub namespaces: bool,
}

impl Calls<'_> {
    pub fn verdict(&self, number: i64) -> Verdict {
        let listed = |lists: &[&[i64]]| lists.iter().any(|list| list.contains(&number));
        if listed(self.allowed) {
            Verdict::Allow
        } else if listed(self.absent) || number > self.newest() {
            Verdict::Refuse(libc::ENOSYS)
        } else {
            Verdict::Refuse(libc::EPERM)
        }
    }

    fn newest(&self) -> i64 {
        self.allowed.iter().flat_map(|list| list.iter().copied()).max().unwrap_or(0)
    }
}

pub(super) fn compile(calls: Calls<'_>) -> Vec<sock_filter> {
    let refuse = |errno| finish(Verdict::Refuse(errno));
    let mut program = vec![load(ARCHITECTURE), jump(JUMP_EQUAL, ARCH, 1, 0), refuse(libc::ENOSYS), load(NUMBER)];
    if !calls.namespaces {
        program.extend([
            jump(JUMP_EQUAL, libc::SYS_clone as u32, 0, 4),
            load(FIRST_ARGUMENT),
            jump(JUMP_ANY_BIT, NEW_NAMESPACES, 0, 1),
            refuse(libc::EPERM),
            finish(Verdict::Allow),
        ]);
    }
    let families = FAMILIES.len() as u8;
    program.extend([
        jump(JUMP_EQUAL, libc::SYS_socket as u32, 1, 0),
        jump(JUMP_EQUAL, libc::SYS_socketpair as u32, 0, families + 3),
        load(FIRST_ARGUMENT),
    ]);
    program.extend(
        (0..families).zip(FAMILIES).map(|(index, family)| jump(JUMP_EQUAL, family as u32, families - index, 0)),
    );
    program.extend([refuse(libc::EAFNOSUPPORT), finish(Verdict::Allow)]);
    emit(&ranges(calls), &mut program);
    program
}

/// Where the verdict changes: the first number of each range, and its verdict.
fn ranges(calls: Calls<'_>) -> Vec<(u32, Verdict)> {
    let mut ranges: Vec<(u32, Verdict)> = Vec::new();
    for number in 0..=calls.newest() + 1 {
        let verdict = calls.verdict(number);
        if ranges.last().is_none_or(|(_, last)| *last != verdict) {
            ranges.push((number as u32, verdict));
        }
    }
    ranges
}

fn emit(ranges: &[(u32, Verdict)], program: &mut Vec<sock_filter>) {
    if let [(_, verdict)] = ranges {
        program.push(finish(*verdict));
        return;
    }
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let mut lower = Vec::new();
    emit(below, &mut lower);
    match u8::try_from(lower.len()) {
        Ok(length) => program.push(jump(JUMP_NOT_LESS, above[0].0, length, 0)),
        Err(_) => {
            // A conditional jump reaches 255 instructions: go through an unconditional one.
            program.push(jump(JUMP_NOT_LESS, above[0].0, 0, 1));
            program.push(jump(libc::BPF_JMP | libc::BPF_JA, lower.len() as u32, 0, 0));
        }
    }
    program.append(&mut lower);
    emit(above, program);
}

fn load(offset: u32) -> sock_filter {
    instruction(LOAD, offset, 0, 0)
}

fn jump(code: u32, operand: u32, when_true: u8, when_false: u8) -> sock_filter {
    instruction(code, operand, when_true, when_false)
}

fn finish(verdict: Verdict) -> sock_filter {
    instruction(RETURN, verdict.code(), 0, 0)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}
