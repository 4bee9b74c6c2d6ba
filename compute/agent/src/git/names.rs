//! Names that callers give: branches, revisions, remotes, files.

use crate::http::error::Failure;

/// A name that git cannot take for an option. What else it must be, git itself says.
pub fn check<'a>(what: &str, name: &'a str) -> Result<&'a str, Failure> {
    if name.is_empty() {
        return Err(Failure::bad_request(format!("{what} is required")));
    }
    if name.starts_with('-') || name.contains(char::is_control) {
        return Err(Failure::bad_request(format!(
            "{what} {name:?} is no valid name: it starts with - or has a control character"
        )));
    }
    Ok(name)
}

/// An optional name; the empty one counts as absent.
pub fn optional<'a>(what: &str, name: Option<&'a str>) -> Result<Option<&'a str>, Failure> {
    name.filter(|name| !name.is_empty()).map(|name| check(what, name)).transpose()
}

/// The name of a remote. A URL is none: it may hold a password, which would show in git's arguments.
pub fn remote(name: Option<&str>) -> Result<Option<&str>, Failure> {
    let name = optional("remote", name)?;
    if name.is_some_and(|name| name.contains("://")) {
        return Err(Failure::bad_request("remote is a URL: add it by git/remotes, then give its name"));
    }
    Ok(name)
}

/// Says of a name that it is no pattern (gitglossary(7), "pathspec").
pub const LITERAL: &str = ":(literal)";

/// Files of a repository, for `--pathspec-from-file=- --pathspec-file-nul`: any number of any names.
pub fn files(names: &[String]) -> Result<Vec<u8>, Failure> {
    if names.is_empty() {
        return Err(Failure::bad_request("files is empty: name files relative to the repository, or . for all"));
    }
    let mut list = Vec::new();
    for name in names {
        if name.is_empty() || name.contains('\0') {
            return Err(Failure::bad_request(format!("files has the invalid name {name:?}")));
        }
        list.extend_from_slice(LITERAL.as_bytes());
        list.extend_from_slice(name.as_bytes());
        list.push(0);
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_no_names() {
        assert_eq!(check("branch", "feature/ü").expect("a name"), "feature/ü");
        for name in ["", "-f", "--upload-pack=x", "a\nb", "a\0"] {
            assert!(check("branch", name).is_err(), "{name:?}");
        }
        assert_eq!(optional("branch", Some("")).expect("absent"), None);
        assert_eq!(files(&["-n".into(), "a b\n".into()]).expect("files"), b":(literal)-n\0:(literal)a b\n\0");
        assert!(files(&[]).is_err() && files(&[String::new()]).is_err());
    }
}
