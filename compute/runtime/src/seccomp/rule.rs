//! Verdicts that depend on the arguments of a call.

use libc::sock_filter;

use super::tree::{self, Verdict};

/// What is decided about a call.
///
/// A rule sees the low half of an argument: all that the kernel takes of an `int`, and the half of the flags of `clone` and
/// `mmap` that holds the bits that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Always(Verdict),
    Match {
        /// From 0.
        argument: u8,
        /// The bits that are looked at.
        mask: u32,
        /// The first case that has the value among its own decides.
        cases: &'static [(&'static [u32], Rule)],
        otherwise: &'static Rule,
    },
    /// Whether an argument, from 0, is a null pointer: this looks at both halves.
    Null {
        argument: u8,
        then: &'static Rule,
        otherwise: &'static Rule,
    },
}

pub(super) const ALLOW: Rule = Rule::Always(Verdict::Allow);

/// All bits of an `int`.
pub(super) const WHOLE: u32 = u32::MAX;

pub(super) const fn refuse(errno: i32) -> Rule {
    Rule::Always(Verdict::Refuse(errno))
}

/// Answers success, and does nothing.
pub(super) const IGNORE: Rule = refuse(0);

impl Rule {
    /// Instructions that end in a verdict on every way. They expect nothing and may change the accumulator.
    pub fn compile(&self) -> Vec<sock_filter> {
        let (argument, mask, cases, otherwise) = match self {
            Self::Always(verdict) => return vec![tree::finish(*verdict)],
            Self::Match { argument, mask, cases, otherwise } => (*argument, *mask, *cases, *otherwise),
            Self::Null { argument, then, otherwise } => return null(*argument, then.compile(), otherwise.compile()),
        };
        let mut program = vec![tree::load_argument(argument)];
        if mask != WHOLE {
            program.push(tree::instruction(tree::AND, mask, 0, 0));
        }
        let decide =
            cases.iter().rev().fold(otherwise.compile(), |rest, (values, rule)| one_of(values, rule.compile(), rest));
        program.extend(decide);
        program
    }

    /// What the compiled rule must answer.
    #[cfg(test)]
    pub fn decide(&self, arguments: &[u64; 6]) -> Verdict {
        match self {
            Self::Always(verdict) => *verdict,
            Self::Match { argument, mask, cases, otherwise } => {
                let value = arguments[usize::from(*argument)] as u32 & mask;
                let case = cases.iter().find(|(values, _)| values.contains(&value));
                case.map_or(*otherwise, |(_, rule)| rule).decide(arguments)
            }
            Self::Null { argument, then, otherwise } => {
                if arguments[usize::from(*argument)] == 0 { then } else { otherwise }.decide(arguments)
            }
        }
    }
}

/// Goes on with `then` if the argument is a null pointer, else with `otherwise`.
fn null(argument: u8, then: Vec<sock_filter>, otherwise: Vec<sock_filter>) -> Vec<sock_filter> {
    let mut program = vec![
        tree::load_argument(argument),
        tree::instruction(tree::JUMP_EQUAL, 0, 0, 2),
        tree::load_upper_half(argument),
        tree::instruction(tree::JUMP_EQUAL, 0, 1, 0),
        tree::instruction(tree::JUMP, then.len() as u32, 0, 0),
    ];
    program.extend(then);
    program.extend(otherwise);
    program
}

/// Goes on with `then` if the accumulator is one of the values, else with `rest`.
fn one_of(values: &[u32], then: Vec<sock_filter>, rest: Vec<sock_filter>) -> Vec<sock_filter> {
    // Backwards: a value that does not match falls through to the next, and the last one to a jump over `then`.
    let mut program = vec![tree::instruction(tree::JUMP, then.len() as u32, 0, 0)];
    for &value in values.iter().rev() {
        let distance = program.len();
        match u8::try_from(distance) {
            Ok(distance) => program.insert(0, tree::instruction(tree::JUMP_EQUAL, value, distance, 0)),
            Err(_) => {
                program.insert(0, tree::instruction(tree::JUMP, distance as u32, 0, 0));
                program.insert(0, tree::instruction(tree::JUMP_EQUAL, value, 0, 1));
            }
        }
    }
    program.extend(then);
    program.extend(rest);
    program
}
