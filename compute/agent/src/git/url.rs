//! URLs of remotes, as far as logins stand in them.

use percent_encoding::percent_decode_str;

use super::login::Login;

/// `https://host:port` of an HTTP URL; none for paths, SSH and others.
pub fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = http(url)?;
    let (authority, _) = split_authority(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some(format!("{scheme}://{host}"))
}

/// Takes the login out of an HTTP URL that holds a password.
pub fn without_login(url: &str) -> (String, Option<Login>) {
    let parts = || {
        let (scheme, rest) = http(url)?;
        let (authority, path) = split_authority(rest);
        let (login, host) = authority.rsplit_once('@')?;
        let (username, password) = login.split_once(':')?;
        let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        Some((format!("{scheme}://{host}{path}"), Login::new(decode(username), decode(password))))
    };
    parts().map_or_else(|| (url.to_owned(), None), |(url, login)| (url, Some(login)))
}

/// The text with the logins taken out of all URLs in it.
pub fn scrub(text: &str) -> String {
    let mut scrubbed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        scrubbed.push_str(before);
        let authority = after.find(|c: char| c == '/' || c == '\'' || c == '"' || c.is_whitespace());
        let authority = &after[..authority.unwrap_or(after.len())];
        rest = &after[authority.rfind('@').map_or(0, |at| at + 1)..];
    }
    scrubbed + rest
}

fn http(url: &str) -> Option<(&str, &str)> {
    url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
}

fn split_authority(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        assert_eq!(origin("https://u:p@host:8443/a/b.git?x").as_deref(), Some("https://host:8443"));
        assert_eq!(origin("http://host").as_deref(), Some("http://host"));
        for other in ["/a/b", "git@host:a/b", "ssh://git@host/a", "file:///a", ""] {
            assert_eq!(origin(other), None, "{other}");
        }
    }

    #[test]
    fn a_password_is_taken_out() {
        let (url, login) = without_login("https://me:p%40ss:x@host/a@b.git");
        assert_eq!(url, "https://host/a@b.git");
        assert_eq!(login.expect("a login").answer(), "username=me\npassword=p@ss:x\n");
        for kept in ["https://me@host/a", "https://host/a:b@c", "git@host:a/b", "/a:b@c"] {
            assert_eq!(without_login(kept).0, kept);
        }
    }

    #[test]
    fn texts_lose_their_logins() {
        let text = "fatal: unable to access 'https://me:secret@host/a.git/': no\nhttp://tok@h, file:///x@y ://";
        assert_eq!(scrub(text), "fatal: unable to access 'https://host/a.git/': no\nhttp://h, file:///x@y ://");
    }
}
