//! Operations that the contract has and this version lacks.
//!
//! They are answered 501 with the name of what is missing: clients take 404 for a sandbox that is gone.

use axum::http::Method;

/// Methods (none: any), the path below `/api` (`*`: any segment, at the end also any that follow), and what it belongs to.
const LACKING: &[(&[Method], &str, &str)] = &[
    (&[], "/admin/*", "administration of other organizations"),
    (&[], "/audit/*", "the audit log"),
    (&[], "/docker-registry", "registries"),
    (&[], "/docker-registry/*", "registries"),
    (&[], "/jobs", "jobs of runners"),
    (&[], "/jobs/*", "jobs of runners"),
    (&[], "/object-storage/*", "object storage"),
    (&[], "/organizations", "organizations and their members"),
    (&[], "/organizations/*", "organizations and their members"),
    (&[], "/preview/*", "previews"),
    (&[], "/regions", "regions"),
    (&[], "/regions/*", "regions"),
    (&[], "/secret", "secrets"),
    (&[], "/secret/*", "secrets"),
    (&[], "/shared-regions", "regions"),
    (&[], "/users", "users"),
    (&[], "/users/*", "users"),
    (&[], "/volumes", "volumes"),
    (&[], "/volumes/*", "volumes"),
    (&[], "/warm-pools", "warm pools"),
    (&[], "/warm-pools/*", "warm pools"),
    (&[], "/webhooks/*", "webhooks"),
    (&[Method::GET, Method::POST], "/api-keys", "management of API keys"),
    (&[Method::GET, Method::DELETE], "/api-keys/*", "management of API keys"),
    (&[Method::POST], "/runners", "runners on other machines"),
    (&[Method::DELETE], "/runners/*", "runners on other machines"),
    (&[], "/runners/by-sandbox/*", "runners on other machines"),
    (&[], "/runners/by-snapshot-ref", "runners on other machines"),
    (&[], "/runners/healthcheck", "runners on other machines"),
    (&[], "/runners/me", "runners on other machines"),
    (&[], "/runners/me/*", "runners on other machines"),
    (&[], "/runners/*/draining", "runners on other machines"),
    (&[], "/runners/*/full", "runners on other machines"),
    (&[], "/runners/*/scheduling", "runners on other machines"),
    (&[Method::POST], "/snapshots", "making snapshots by the API"),
    (&[Method::DELETE], "/snapshots/*", "deleting snapshots by the API"),
    (&[Method::POST], "/snapshots/*/activate", "activating and deactivating snapshots"),
    (&[Method::POST], "/snapshots/*/deactivate", "activating and deactivating snapshots"),
    (&[], "/snapshots/*/build-logs", "building images"),
    (&[], "/snapshots/*/build-logs-url", "building images"),
    (&[], "/sandbox/for-runner", "runners on other machines"),
    (&[], "/sandbox/ssh-access/validate", "access by SSH"),
    (&[], "/sandbox/*/ancestors", "forking sandboxes"),
    (&[], "/sandbox/*/archive", "archiving sandboxes"),
    (&[], "/sandbox/*/backup", "archiving sandboxes"),
    (&[], "/sandbox/*/build-logs", "building images"),
    (&[], "/sandbox/*/build-logs-url", "building images"),
    (&[], "/sandbox/*/fork", "forking sandboxes"),
    (&[], "/sandbox/*/forks", "forking sandboxes"),
    (&[], "/sandbox/*/organization", "organizations and their members"),
    (&[], "/sandbox/*/parent", "forking sandboxes"),
    (&[], "/sandbox/*/pause", "pausing sandboxes"),
    (&[], "/sandbox/*/ports/*", "previews"),
    (&[], "/sandbox/*/recover", "recovering sandboxes"),
    (&[], "/sandbox/*/region-quota", "quotas"),
    (&[], "/sandbox/*/secrets", "secrets"),
    (&[], "/sandbox/*/snapshot", "making snapshots of sandboxes"),
    (&[], "/sandbox/*/ssh-access", "access by SSH"),
    (&[], "/sandbox/*/state", "runners on other machines"),
    (&[], "/sandbox/*/telemetry/*", "telemetry"),
];

/// What is missing for this request, if it is an operation of the contract; the path is the whole one.
pub(crate) fn feature(method: &Method, path: &str) -> Option<&'static str> {
    let path = path.strip_prefix("/api")?.trim_end_matches('/');
    let fits = |(methods, pattern, _): &&(&[Method], &str, &str)| {
        (methods.is_empty() || methods.contains(method)) && matches(pattern, path)
    };
    LACKING.iter().find(fits).map(|(_, _, feature)| *feature)
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/').peekable(), path.split('/'));
    while let Some(wanted) = pattern.next() {
        match path.next() {
            Some(found) if wanted == found || (wanted == "*" && !found.is_empty()) => {}
            _ => return false,
        }
        if wanted == "*" && pattern.peek().is_none() {
            return true;
        }
    }
    path.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_contract_has_and_we_lack_is_known_here() {
        for operation in sebring_contract::lacking(sebring_contract::Contract::Api) {
            let (method, path) = operation.split_once(' ').expect("METHOD /path");
            let method = method.parse().expect("a method");
            assert!(feature(&method, &format!("/api{}", path.replace("{}", "x"))).is_some(), "{operation}");
        }
    }

    #[test]
    fn operations_of_the_contract_have_a_feature() {
        for (method, path, expected) in [
            (Method::GET, "/api/volumes", Some("volumes")),
            (Method::DELETE, "/api/volumes/x", Some("volumes")),
            (Method::POST, "/api/sandbox/x/fork", Some("forking sandboxes")),
            (Method::GET, "/api/sandbox/x/ports/3000/preview-url", Some("previews")),
            (Method::POST, "/api/snapshots/x/activate", Some("activating and deactivating snapshots")),
            (Method::GET, "/api/snapshots/x/build-logs", Some("building images")),
            (Method::GET, "/api/users/me", Some("users")),
            (Method::PATCH, "/api/sandbox/x", None),
            (Method::POST, "/api/sandbox/x/forkk", None),
            (Method::POST, "/api/sandbox/x/fork/y", None),
            (Method::GET, "/api/volumez", None),
            (Method::GET, "/api", None),
            (Method::GET, "/elsewhere", None),
        ] {
            assert_eq!(feature(&method, path), expected, "{method} {path}");
        }
    }
}
