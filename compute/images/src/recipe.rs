//! The recipe of the default snapshot: data in `images/debian-13`, part of the program.

use sha2::{Digest, Sha256};

/// The Debian release.
pub const SUITE: &str = "trixie";
/// Debian packages.
pub const PACKAGES: &str = include_str!("../../../images/debian-13/packages.txt");
/// Paths that dpkg leaves out; a line that starts with `!` takes back.
pub const EXCLUDES: &str = include_str!("../../../images/debian-13/excludes.txt");
/// npm packages.
pub const NPM: &str = include_str!("../../../images/debian-13/npm.txt");
/// Enters the image being built; runs on the host.
pub const ENTER: &str = include_str!("../../../images/debian-13/enter.sh");
/// Installs [`NPM`]; runs inside.
pub const NODE: &str = include_str!("../../../images/debian-13/node.sh");
/// Makes the user and the settings; runs inside.
pub const SYSTEM: &str = include_str!("../../../images/debian-13/system.sh");
/// Tries the finished image; runs inside.
pub const CHECK: &str = include_str!("../../../images/debian-13/check.sh");

/// Raised when the same data would make another image, because the code around it changed.
const REVISION: u32 = 1;

/// Which recipe an image was made by: 16 hexadecimal digits.
pub fn fingerprint() -> String {
    let mut hash = Sha256::new();
    hash.update(REVISION.to_le_bytes());
    for part in [SUITE, PACKAGES, EXCLUDES, NPM, ENTER, NODE, SYSTEM, CHECK] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The entries of a list: one a line, without empty lines and comments.
pub fn entries(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Debian's name of an architecture that a snapshot can be made for.
pub fn debian_architecture(architecture: &str) -> Option<&'static str> {
    match architecture {
        "x86_64" => Some("amd64"),
        "aarch64" => Some("arm64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_plain_names() {
        let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "-+.@".contains(c));
        for name in entries(PACKAGES).chain(entries(NPM)) {
            assert!(plain(name), "{name}");
        }
        assert!(entries(EXCLUDES).all(|path| path.trim_start_matches('!').starts_with('/')));
    }

    #[test]
    fn the_fingerprint_is_short_and_stable() {
        assert_eq!(fingerprint().len(), 16);
        assert_eq!(fingerprint(), fingerprint());
    }
}
