//! Ends a process with everything it started, also what left its group or its parent.
//!
//! A process belongs to a tree when its parent does, when it is in the session or group of the tree's root, or when
//! its environment still carries the tree's mark ([`MARK`]), which finds daemons whose parents are gone. What hides
//! from all three (a daemon with a cleaned environment) is beyond reach, and lives until the sandbox stops.

use std::collections::{HashMap, HashSet};
use std::fs;

use libc::{SIGCONT, SIGKILL, SIGSTOP};
use nix::unistd::Pid;

/// A variable in the environment of each tree's root: its value is the tree's number.
pub const MARK: &str = "SEBRING_JOB";
/// Each round stops what the former one did not see; a tree that grows faster is killed as far as it is known.
const ROUNDS: usize = 32;

/// Kills the tree below `root`. When the root has ended its number may be another's by now: pass none, and the mark
/// alone decides.
pub fn kill(root: Option<Pid>, job: u64) {
    let root = root.map(Pid::as_raw);
    // Stopped processes cannot fork away from the next look at them.
    let mut members = HashSet::new();
    signal(root, SIGSTOP, &members);
    for _ in 0..ROUNDS {
        let found = find(root, job);
        let fresh: Vec<i32> = found.difference(&members).copied().collect();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh {
            send(pid, SIGSTOP);
            members.insert(pid);
        }
    }
    signal(root, SIGKILL, &members);
    // A killed process dies stopped as well; this one is for a group that gained a member meanwhile.
    signal(root, SIGCONT, &HashSet::new());
}

/// Sends a signal to every process of the sandbox but the agent.
pub fn signal_all(number: i32) {
    let agent = std::process::id().cast_signed();
    if agent == 1 {
        // Pid -1 is everything that pid 1 may reach.
        send(-1, number);
    } else {
        // Elsewhere, as in tests, that would be the whole machine.
        let (processes, _) = processes();
        descendants(agent, &processes).into_iter().filter(|pid| *pid != agent).for_each(|pid| send(pid, number));
    }
}

/// Sends a signal to the process group of a living process that leads it.
pub fn signal_group(leader: Pid, number: i32) {
    send(-leader.as_raw(), number);
}

fn signal(root: Option<i32>, number: i32, members: &HashSet<i32>) {
    if let Some(root) = root {
        send(-root, number);
    }
    members.iter().for_each(|pid| send(*pid, number));
}

/// A process that is gone is as good as reached.
fn send(pid: i32, number: i32) {
    // SAFETY: a plain system call on numbers.
    unsafe { libc::kill(pid, number) };
}

/// What `/proc/PID/stat` says about relations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Relations {
    parent: i32,
    group: i32,
    session: i32,
}

fn find(root: Option<i32>, job: u64) -> HashSet<i32> {
    let (processes, agent) = processes();
    let mark = format!("{MARK}={job}");
    let mut found = HashSet::new();
    for (&pid, relations) in &processes {
        let related = [pid, relations.group, relations.session].map(Some).contains(&root);
        if pid != agent && !found.contains(&pid) && (related || carries(pid, mark.as_bytes())) {
            found.extend(descendants(pid, &processes));
        }
    }
    found.remove(&agent);
    found
}

/// The process and all below it.
fn descendants(root: i32, processes: &HashMap<i32, Relations>) -> HashSet<i32> {
    let mut found = HashSet::from([root]);
    loop {
        let before = found.len();
        for (&pid, relations) in processes {
            if found.contains(&relations.parent) {
                found.insert(pid);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

/// All living processes, and the agent's own pid.
fn processes() -> (HashMap<i32, Relations>, i32) {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let relations = |pid: i32| {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, parse_stat(&stat)?))
    };
    (pids.filter_map(relations).collect(), std::process::id().cast_signed())
}

/// proc_pid_stat(5): the name is in parentheses and may hold any byte, so fields count from the last one. None for
/// processes that are dead already.
fn parse_stat(stat: &[u8]) -> Option<Relations> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let mut number = || fields.next()?.parse().ok();
    let relations = Relations { parent: number()?, group: number()?, session: number()? };
    (!matches!(state, "Z" | "X")).then_some(relations)
}

fn carries(pid: i32, mark: &[u8]) -> bool {
    // Unreadable for processes of other users, such as those of sudo, which are found by their parents.
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines_with_hostile_names() {
        let relations = parse_stat(b"12 (a) b) R) S 7 8 9 0 -1").expect("a living process");
        assert_eq!(relations, Relations { parent: 7, group: 8, session: 9 });
        assert_eq!(parse_stat(b"12 (dead) Z 7 8 9 0 -1"), None);
        assert_eq!(parse_stat(b"12 (short) S 7"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn descendants_are_found_in_any_order() {
        let relation = |parent| Relations { parent, group: 0, session: 0 };
        let processes = HashMap::from([(2, relation(1)), (3, relation(2)), (4, relation(3)), (9, relation(1))]);
        assert_eq!(descendants(2, &processes), HashSet::from([2, 3, 4]));
    }
}
