//! Compiles a list of numbers to a binary tree of comparisons (classic BPF, `seccomp(2)`), with rules as its leaves.

use libc::sock_filter;

use super::rule::{self, Rule};

pub(super) const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
pub(super) const JUMP_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
pub(super) const JUMP_NOT_LESS: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
pub(super) const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
pub(super) const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
pub(super) const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The first of six arguments of eight bytes, the low half first: both supported architectures are little-endian.
pub(super) const FIRST_ARGUMENT: u32 = 16;

/// `AUDIT_ARCH_*` of `linux/audit.h`.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCH: u32 = 0xc000_00b7;

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
    /// What depends on arguments, for calls that are among the allowed.
    pub rules: &'a [&'a [(i64, Rule)]],
}

impl Calls<'_> {
    pub fn rule(&self, number: i64) -> Rule {
        let listed = |lists: &[&[i64]]| lists.iter().any(|list| list.contains(&number));
        if listed(self.allowed) {
            let rule = self.rules.iter().copied().flatten().find(|(call, _)| *call == number);
            rule.map_or(rule::ALLOW, |(_, rule)| *rule)
        } else if listed(self.absent) || number > self.newest() {
            rule::refuse(libc::ENOSYS)
        } else {
            rule::refuse(libc::EPERM)
        }
    }

    fn newest(&self) -> i64 {
        self.allowed.iter().flat_map(|list| list.iter().copied()).max().unwrap_or(0)
    }
}

pub(super) fn compile(calls: Calls<'_>) -> Vec<sock_filter> {
    let foreign = finish(Verdict::Refuse(libc::ENOSYS));
    let mut program = vec![load(ARCHITECTURE), instruction(JUMP_EQUAL, ARCH, 1, 0), foreign, load(NUMBER)];
    emit(&ranges(calls), &mut program);
    program
}

/// Where the rule changes: the first number of each range, and its rule.
fn ranges(calls: Calls<'_>) -> Vec<(u32, Rule)> {
    let mut ranges: Vec<(u32, Rule)> = Vec::new();
    for number in 0..=calls.newest() + 1 {
        let rule = calls.rule(number);
        if ranges.last().is_none_or(|(_, last)| *last != rule) {
            ranges.push((number as u32, rule));
        }
    }
    ranges
}

fn emit(ranges: &[(u32, Rule)], program: &mut Vec<sock_filter>) {
    if let [(_, rule)] = ranges {
        program.append(&mut rule.compile());
        return;
    }
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let mut lower = Vec::new();
    emit(below, &mut lower);
    match u8::try_from(lower.len()) {
        Ok(length) => program.push(instruction(JUMP_NOT_LESS, above[0].0, length, 0)),
        Err(_) => {
            // A conditional jump reaches 255 instructions: go through an unconditional one.
            program.push(instruction(JUMP_NOT_LESS, above[0].0, 0, 1));
            program.push(instruction(JUMP, lower.len() as u32, 0, 0));
        }
    }
    program.append(&mut lower);
    emit(above, program);
}

fn load(offset: u32) -> sock_filter {
    instruction(LOAD, offset, 0, 0)
}

pub(super) fn load_argument(index: u8) -> sock_filter {
    load(FIRST_ARGUMENT + 8 * u32::from(index))
}

pub(super) fn load_upper_half(index: u8) -> sock_filter {
    load(FIRST_ARGUMENT + 8 * u32::from(index) + 4)
}

pub(super) fn finish(verdict: Verdict) -> sock_filter {
    instruction(RETURN, verdict.code(), 0, 0)
}

pub(super) fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}
