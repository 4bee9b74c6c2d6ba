//! Names that a sandbox may reach, as the public API writes them.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Letters of a name at most (RFC 1035 §2.3.4, without the length bytes of a message).
const NAME: usize = 253;
/// Letters of one part of a name at most (RFC 1035 §2.3.4).
const LABEL: usize = 63;

/// `example.com`, which is that name only, or `*.example.com`, which is that name and all below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainPattern {
    /// Lower case, without a dot at the end.
    name: String,
    with_subdomains: bool,
}

impl DomainPattern {
    /// Whether `name` is meant; its case and a dot at its end do not matter.
    pub fn matches(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        let Some(start) = name.len().checked_sub(self.name.len()) else { return false };
        // Bytes, since the name may come from a hostile peer and hold anything.
        let (above, end) = name.as_bytes().split_at(start);
        end.eq_ignore_ascii_case(self.name.as_bytes())
            && (above.is_empty() || (self.with_subdomains && above.len() > 1 && above.ends_with(b".")))
    }
}

/// Not a pattern, and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDomain {
    #[error("is an address: give addresses in networkAllowList")]
    Address,
    #[error("is more than a name: leave out protocol, port and path")]
    NotOnlyName,
    #[error("may have '*' only as its first part, before a name, as in *.example.com")]
    Wildcard,
    #[error("has letters that names can't have: give it as in DNS, international names as xn--…")]
    Letters,
    #[error("has a part that is empty, longer than {LABEL} letters, or has '-' at its start or end")]
    Label,
    #[error("is longer than {NAME} letters")]
    TooLong,
}

impl FromStr for DomainPattern {
    type Err = InvalidDomain;

    fn from_str(text: &str) -> Result<Self, InvalidDomain> {
        if text.contains(['/', ':', '?', '#', '@']) {
            return Err(InvalidDomain::NotOnlyName);
        }
        let (name, with_subdomains) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if name.contains('*') || (with_subdomains && name.is_empty()) {
            return Err(InvalidDomain::Wildcard);
        }
        if !name.bytes().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_' | b'.')) {
            return Err(InvalidDomain::Letters);
        }
        let wrong =
            |label: &str| label.is_empty() || label.len() > LABEL || label.starts_with('-') || label.ends_with('-');
        if name.split('.').any(wrong) {
            return Err(InvalidDomain::Label);
        }
        if name.len() > NAME {
            return Err(InvalidDomain::TooLong);
        }
        // A number at the end makes it an address for every program (WHATWG URL §3.5), in whatever notation.
        let last = name.rsplit('.').next().unwrap_or_default();
        if name.parse::<Ipv4Addr>().is_ok() || last.bytes().all(|letter| letter.is_ascii_digit()) {
            return Err(InvalidDomain::Address);
        }
        Ok(Self { name, with_subdomains })
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.with_subdomains { "*." } else { "" }, self.name)
    }
}

impl TryFrom<String> for DomainPattern {
    type Error = InvalidDomain;

    fn try_from(text: String) -> Result<Self, InvalidDomain> {
        text.parse()
    }
}

impl From<DomainPattern> for String {
    fn from(pattern: DomainPattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> DomainPattern {
        text.parse().expect("a pattern")
    }

    #[test]
    fn an_exact_name_is_only_itself() {
        let pattern = pattern("Example.com.");
        assert_eq!(pattern.to_string(), "example.com");
        for name in ["example.com", "EXAMPLE.com", "example.com."] {
            assert!(pattern.matches(name), "{name}");
        }
        for name in
            ["www.example.com", "notexample.com", "com", "", ".example.com", "example.com.evil", "example.com.."]
        {
            assert!(!pattern.matches(name), "{name}");
        }
    }

    #[test]
    fn a_wildcard_is_the_name_and_all_below() {
        let pattern = pattern("*.example.com");
        assert_eq!(pattern.to_string(), "*.example.com");
        for name in ["example.com", "www.example.com", "a.b.Example.Com"] {
            assert!(pattern.matches(name), "{name}");
        }
        for name in ["notexample.com", "example.com.evil.test", "com", ".example.com", "exämple.com"] {
            assert!(!pattern.matches(name), "{name}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        use InvalidDomain::{Address, Label, Letters, NotOnlyName, TooLong, Wildcard};
        let long = format!("{}com", "a.".repeat(130));
        for (text, why) in [
            ("https://example.com", NotOnlyName),
            ("example.com:443", NotOnlyName),
            ("example.com/x", NotOnlyName),
            ("me@example.com", NotOnlyName),
            ("192.0.2.1", Address),
            ("192.0.513", Address),
            ("*", Wildcard),
            ("*.", Wildcard),
            ("a.*.com", Wildcard),
            ("*x.com", Wildcard),
            ("*.*.com", Wildcard),
            ("", Label),
            ("a..b", Label),
            ("-a.com", Label),
            ("a-.com", Label),
            (&"a".repeat(64), Label),
            ("bücher.de", Letters),
            ("a b.com", Letters),
            (&long, TooLong),
        ] {
            assert_eq!(text.parse::<DomainPattern>(), Err(why), "{text}");
        }
        assert!("xn--bcher-kva.de".parse::<DomainPattern>().is_ok());
        assert!("_dmarc.example.com".parse::<DomainPattern>().is_ok());
    }
}
