//! What a tool's last words mean for the person who must mend it.

use std::path::Path;

use crate::error::BootstrapError;
use crate::progress::Phase;

const DISK: &[&str] = &["No space left on device", "ENOSPC"];
const KEYRING: &[&str] = &["NO_PUBKEY", "Missing key", "is not signed", "no keyring"];
const CERTIFICATE: &[&str] = &[
    "SELF_SIGNED_CERT",
    "self-signed certificate",
    "UNABLE_TO_GET_ISSUER",
    "UNABLE_TO_VERIFY",
    "unable to get local issuer",
    "unable to verify the first certificate",
    "Certificate verification failed",
];
const MIRROR: &[&str] = &[
    "Temporary failure resolving",
    "Could not resolve",
    "Could not connect",
    "Cannot initiate the connection",
    "Unable to connect",
    "Connection failed",
    "Connection timed out",
    "Connection refused",
    "Network is unreachable",
    "does not have a Release file",
    "Failed to fetch",
];
const REGISTRY: &[&str] = &[
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ETIMEDOUT",
    "ENETUNREACH",
    "fetch failed",
    "Error when performing the request",
    "Protocol \"http:\" not supported",
    "HttpErrorGeneral",
    "npm error code E4",
    "npm error code E5",
];

/// The error for a tool that failed in `phase` after it printed `lines`.
pub fn explain(phase: Phase, program: &str, status: &str, lines: &[String], log: &Path) -> BootstrapError {
    // The first match tells the cause; later lines tell its consequences.
    let cause = |signs: &[&str]| {
        lines.iter().find(|line| signs.iter().any(|sign| line.contains(sign))).map(|line| line.trim().to_owned())
    };
    let log = log.to_owned();
    if cause(DISK).is_some() {
        return BootstrapError::DiskFull(log);
    }
    if let Some(detail) = cause(CERTIFICATE) {
        return BootstrapError::Certificate { detail, log };
    }
    match phase {
        Phase::Packages => {
            if let Some(detail) = cause(KEYRING) {
                return BootstrapError::Keyring { detail, log };
            }
            if let Some(detail) = cause(MIRROR) {
                return BootstrapError::Mirror { detail, log };
            }
        }
        Phase::Node => {
            if let Some(detail) = cause(REGISTRY) {
                return BootstrapError::Registry { detail, log };
            }
        }
        Phase::System | Phase::Check | Phase::Publish => {}
    }
    let detail = lines.iter().rfind(|line| !line.trim().is_empty()).map_or("no output", |line| line.trim());
    BootstrapError::Step { program: program.to_owned(), status: status.to_owned(), detail: detail.to_owned(), log }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(phase: Phase, lines: &[&str]) -> BootstrapError {
        let lines: Vec<_> = lines.iter().map(|&line| line.to_owned()).collect();
        explain(phase, "tool", "exit status: 1", &lines, Path::new("/log"))
    }

    #[test]
    fn names_the_cause_rather_than_the_consequence() {
        let lines = ["Err:1 http://mirror trixie InRelease", "  Temporary failure resolving 'mirror'", "E: apt failed"];
        assert!(matches!(
            explained(Phase::Packages, &lines),
            BootstrapError::Mirror { detail, .. } if detail == "Temporary failure resolving 'mirror'"
        ));
        let lines = ["W: GPG error: NO_PUBKEY 6ED0E7B82643E131", "E: apt-get update failed"];
        assert!(matches!(explained(Phase::Packages, &lines), BootstrapError::Keyring { .. }));
        let lines = ["npm error code SELF_SIGNED_CERT_IN_CHAIN", "npm error A complete log can be found"];
        assert!(matches!(explained(Phase::Node, &lines), BootstrapError::Certificate { .. }));
        let lines = ["npm error network request failed, reason: getaddrinfo ENOTFOUND registry"];
        assert!(matches!(explained(Phase::Node, &lines), BootstrapError::Registry { .. }));
        assert!(matches!(explained(Phase::Check, &["dpkg: No space left on device"]), BootstrapError::DiskFull(_)));
    }

    #[test]
    fn says_the_last_line_of_anything_else() {
        let error = explained(Phase::Check, &["python 3.13", "sh: 1: tsx: not found", ""]);
        assert_eq!(error.to_string(), "tool failed (exit status: 1): sh: 1: tsx: not found; log: /log");
    }
}
