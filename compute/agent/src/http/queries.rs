//! What each route knows of a query, so that a misspelt parameter is refused instead of passed over.

use http::Method;

use super::error::Failure;
use super::query::Query;
use super::request::explain_parameter;

/// Known everywhere: browsers, which cannot set headers of a WebSocket, show their token here.
const ANYWHERE: &str = "DAYTONA_SANDBOX_AUTH_KEY";

/// Refuses a parameter that the route does not know. What is no route is refused elsewhere.
pub fn check(method: &Method, segments: &[&str], query: &Query) -> Result<(), Failure> {
    let Some(known) = known(method, segments) else { return Ok(()) };
    match query.names().find(|name| *name != ANYWHERE && !known.contains(name)) {
        Some(name) => Err(Failure::bad_request(explain_parameter(name, known))),
        None => Ok(()),
    }
}

/// None where nobody looks: there are no such routes.
pub fn known(method: &Method, segments: &[&str]) -> Option<&'static [&'static str]> {
    // Whoever sees HEAD sees GET.
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let known: &[&str] = match (method, segments) {
        ("GET", ["process", "session", .., "logs"]) => &["follow"],
        ("GET", ["process", "pty", "create-connect"]) => &["id", "cols", "rows", "cwd"],
        ("GET", ["files"]) => &["path", "depth"],
        ("DELETE", ["files"]) => &["path", "recursive"],
        // The last two sign a URL; who shows a key as well needs no signature.
        ("GET", ["files", "download"]) | ("POST", ["files", "upload-v2"]) => &["path", "expires", "signature"],
        ("GET", ["files", "info"]) | ("POST", ["files", "upload"]) => &["path"],
        ("POST", ["files", "folder"]) => &["path", "mode"],
        ("POST", ["files", "move"]) => &["source", "destination"],
        ("POST", ["files", "permissions"]) => &["path", "mode", "owner", "group"],
        ("GET", ["files", "find" | "search"]) => &["path", "pattern"],
        ("GET", ["files", "watch"]) => &["path", "recursive"],
        ("GET", ["git", "status" | "history" | "branches" | "remotes"]) => &["path"],
        ("GET", ["git", "config"]) => &["key", "path", "scope"],
        ("GET", ["lsp", "document-symbols"]) => &["languageId", "pathToProject", "uri"],
        ("GET", ["lsp", "workspacesymbols" | "workspace-symbols"]) => &["languageId", "pathToProject", "query"],
        (
            "GET" | "POST" | "DELETE",
            [
                "process" | "files" | "git" | "lsp" | "user-home-dir" | "work-dir" | "project-dir" | "version" | "init"
                | "env" | "system" | "port",
                ..,
            ],
        ) => &[],
        _ => return None,
    };
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, path: &str, query: &str) -> Result<(), String> {
        let segments: Vec<&str> = path.split('/').collect();
        check(&method, &segments, &Query::parse(Some(query))).map_err(|failure| failure.message)
    }

    #[test]
    fn names_the_nearest() {
        for (method, path, query, message) in [
            (Method::GET, "files", "pth=a", "unknown query parameter \"pth\": did you mean path?"),
            (Method::DELETE, "files", "path=a&depth=1", "unknown query parameter \"depth\": did you mean path?"),
            (Method::GET, "files/search", "path=a&query=b", "unknown query parameter \"query\": did you mean pattern?"),
            (Method::POST, "process/execute", "timeout=1", "unknown query parameter \"timeout\""),
        ] {
            let refused = asked(method, path, query).expect_err(query);
            assert!(refused.starts_with(message.split(": did").next().expect("a part")), "{refused}");
        }
        assert_eq!(
            asked(Method::GET, "files", "pth=a").expect_err("unknown"),
            "unknown query parameter \"pth\": did you mean path?"
        );
    }

    #[test]
    fn lets_pass_what_is_known_or_no_route() {
        for (method, path, query) in [
            (Method::GET, "files", "path=a&depth=2"),
            (Method::HEAD, "files/download", "path=a&expires=1&signature=s"),
            (Method::GET, "process/pty/a/connect", "DAYTONA_SANDBOX_AUTH_KEY=x"),
            (Method::GET, "process/session/a/command/b/logs", "follow=true"),
            (Method::GET, "computeruse/screenshot", "showCursor=true"),
            (Method::GET, "nowhere", "a=b"),
        ] {
            assert_eq!(asked(method, path, query), Ok(()), "{path}?{query}");
        }
    }
}
