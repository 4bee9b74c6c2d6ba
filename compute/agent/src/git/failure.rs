//! What git's messages mean.
//!
//! Git tells failures apart by text alone. It is run with English messages, and the phrases here are those of its
//! source, from 2.25 to 2.47; the first rule that has one wins, so rules go from sure to vague. What a server sends
//! (`remote: …`) is shown, but decides nothing. A failure that no rule knows is the caller's: git refused what it
//! was told to do.

use super::running::Outcome;
use crate::http::error::{Failure, Kind};
use crate::process::children::Exit;

/// Longer texts are cut; their beginning tells the cause.
const LONGEST: usize = 2000;

struct Rule {
    kind: Kind,
    phrases: &'static [&'static str],
    /// What to do about it.
    advice: &'static str,
}

const RULES: [Rule; 16] = [
    Rule {
        kind: Kind::DiskFull,
        phrases: &["No space left on device", "Disk quota exceeded"],
        advice: "delete files, or use a larger disk",
    },
    Rule {
        kind: Kind::GitAuthFailed,
        phrases: &[
            "Authentication failed for ",
            "could not read Username for ",
            "could not read Password for ",
            "requested URL returned error: 401",
            "requested URL returned error: 403",
            "Permission denied (publickey",
            "Permission denied, please try again",
        ],
        advice: "pass a username and a password or token that the remote accepts",
    },
    Rule {
        kind: Kind::GitRepoNotFound,
        phrases: &[
            "not a git repository",
            "does not appear to be a git repository",
            "No such remote",
            "fatal: repository '",
            "ERROR: Repository not found",
        ],
        advice: "",
    },
    Rule { kind: Kind::GitBranchExists, phrases: &["a branch named '"], advice: "" },
    Rule {
        kind: Kind::GitBranchNotFound,
        phrases: &[
            "fatal: Remote branch ",
            "couldn't find remote ref",
            "error: src refspec ",
            "invalid reference: ",
            "error: branch '",
            "unknown revision",
            "fatal: could not resolve ",
            "fatal: Failed to resolve '",
            "fatal: Could not parse object",
            "not a valid object name",
            "bad revision",
            "Needed a single revision",
            "reference is not a tree",
            "not our ref",
        ],
        advice: "",
    },
    Rule {
        kind: Kind::GitRemoteRejected,
        phrases: &["[remote rejected]"],
        advice: "the remote's own rules refuse this push",
    },
    Rule {
        kind: Kind::GitPushRejected,
        phrases: &["[rejected]", "error: failed to push some refs"],
        advice: "pull what the remote has, then push again",
    },
    Rule {
        kind: Kind::GitTransportFailed,
        phrases: &["server verification failed", "certificate verification failed", "SSL certificate problem"],
        advice: "trust its certificate authority by the setting http.sslCAInfo, or clone with insecure_skip_tls",
    },
    Rule {
        kind: Kind::GitTransportFailed,
        phrases: &[
            "fatal: unable to access '",
            "Could not resolve host",
            "fatal: Could not read from remote repository",
            "hung up unexpectedly",
            "early EOF",
            "RPC failed",
            "Connection refused",
            "Connection timed out",
            "Host key verification failed",
            "protocol error",
            "unable to look up ",
            "unable to connect to ",
            "unable to find remote helper",
            "remote helper",
            "transport '",
        ],
        advice: "check the URL and that the sandbox can reach it",
    },
    Rule {
        kind: Kind::GitDirtyWorktree,
        phrases: &[
            "would be overwritten by ",
            "commit your changes or stash them",
            "not uptodate. Cannot merge",
            "You have unstaged changes",
            "uncommitted changes",
        ],
        advice: "commit, reset or restore these changes first",
    },
    Rule {
        kind: Kind::GitMergeConflict,
        phrases: &[
            "CONFLICT (",
            "Automatic merge failed",
            "unmerged files",
            "unresolved conflict",
            "not concluded your merge",
            "resolve your current index first",
            "could not apply ",
        ],
        advice: "resolve the conflicts, add and commit, or reset with mode merge; a rebase goes on or ends by git rebase",
    },
    Rule {
        kind: Kind::GitMergeConflict,
        phrases: &["reconcile divergent branches", "Not possible to fast-forward", "Diverging branches"],
        advice: "both sides have commits of their own: set pull.rebase to false (merge) or true (rebase), pull again",
    },
    Rule {
        kind: Kind::Conflict,
        phrases: &[
            ".lock': File exists",
            " already exists.",
            "already exists and is not an empty directory",
            "used by worktree at",
            "checked out at",
        ],
        advice: "",
    },
    Rule {
        kind: Kind::FileAccessDenied,
        phrases: &["Permission denied", "dubious ownership", "insufficient permission", "Read-only file system"],
        advice: "",
    },
    Rule { kind: Kind::FileNotFound, phrases: &["did not match any file"], advice: "" },
    Rule { kind: Kind::InvalidFilePath, phrases: &["is outside repository", "Not a directory"], advice: "" },
];

/// The failure of a call that exited with another code than 0.
pub fn of(outcome: &Outcome) -> Failure {
    let operation = &outcome.operation;
    if let Exit::Signal(number) = outcome.exit {
        let message = format!("git {operation} was ended by signal {number}: the sandbox may be out of memory");
        return Failure::internal(message);
    }
    let output = super::url::scrub(&String::from_utf8_lossy(&outcome.stdout));
    let lines: Vec<&str> = outcome.messages.lines().chain(output.lines()).collect();
    let rule = lines.iter().filter(|line| !line.starts_with("remote: ")).fold(RULES.len(), |first, line| {
        let matches = |rule: &Rule| rule.phrases.iter().any(|phrase| line.contains(phrase));
        RULES[..first].iter().position(matches).unwrap_or(first)
    });
    let (kind, advice) = RULES.get(rule).map_or((Kind::BadRequest, ""), |rule| (rule.kind, rule.advice));
    let told: Vec<&str> = lines.into_iter().filter_map(tells).collect();
    let mut text = told.join("; ");
    if text.is_empty() {
        text = format!("exited with code {}", outcome.exit.code());
    }
    text.truncate((0..=LONGEST.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0));
    let text = text.trim_end_matches(['.', ' ']).replace(super::names::LITERAL, "");
    let advice = if advice.is_empty() { String::new() } else { format!("; {advice}") };
    Failure::new(kind, format!("git {operation}: {text}{advice}"))
}

/// A line without what is only for terminals; none when nothing is left of it.
fn tells(line: &str) -> Option<&str> {
    const NOISE: [&str; 8] = [
        "hint:",
        "Aborting",
        "Done",
        "To ",
        "Use '--' to separate",
        "'git <command>",
        "Please make sure you have the correct access rights",
        "and the repository exists.",
    ];
    let line = line.trim();
    let told = ["fatal: ", "error: "].iter().find_map(|prefix| line.strip_prefix(prefix)).unwrap_or(line);
    (!told.is_empty() && !NOISE.iter().any(|noise| told.starts_with(noise))).then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(messages: &str, stdout: &str) -> Failure {
        of(&Outcome {
            operation: "push".into(),
            exit: Exit::Code(1),
            stdout: stdout.as_bytes().to_vec(),
            messages: messages.into(),
        })
    }

    #[test]
    fn the_surest_rule_wins() {
        let refused = "error: failed to push some refs to '/o'\nhint: Updates were rejected";
        let failure =
            failure(refused, "To /o\n!\trefs/heads/m:refs/heads/m\t[remote rejected] (hook declined)\nDone\n");
        assert_eq!(failure.kind, Kind::GitRemoteRejected);
        assert!(failure.message.starts_with("git push: failed to push some refs to '/o'; !\trefs/heads/m"));
        assert!(!failure.message.contains("hint"));
    }

    #[test]
    fn messages_of_git() {
        for (message, kind) in [
            ("fatal: Authentication failed for 'http://h/a/'", Kind::GitAuthFailed),
            ("remote: Not Found\nfatal: repository 'https://h/a/' not found", Kind::GitRepoNotFound),
            ("fatal: unable to access 'https://h/': Could not resolve host: h", Kind::GitTransportFailed),
            ("fatal: unable to access 'https://h/': SSL certificate problem: self-signed", Kind::GitTransportFailed),
            ("fatal: could not resolve nope", Kind::GitBranchNotFound),
            (
                "error: Your local changes to the following files would be overwritten by checkout:",
                Kind::GitDirtyWorktree,
            ),
            ("error: pathspec 'x' did not match any file(s) known to git", Kind::FileNotFound),
            ("remote: Permission denied", Kind::BadRequest),
            ("", Kind::BadRequest),
        ] {
            assert_eq!(failure(message, "").kind, kind, "{message}");
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert!(failure(&"ü".repeat(5000), "").message.len() < LONGEST + 100);
    }
}
