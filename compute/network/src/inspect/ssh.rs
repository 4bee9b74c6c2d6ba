//! SSH: what both sides say before anything else.
//!
//! A client that says so alone could be speaking to anything: `SSH-X / HTTP/1.1` is a request to a web server.

/// Bytes of that line at most (RFC 4253 §4.2).
const LONGEST: usize = 255;
/// Of clients, and of servers, some of which know an older protocol, too.
pub const CLIENT: &[&[u8]] = &[b"SSH-2.0-"];
pub const SERVER: &[&[u8]] = &[b"SSH-2.0-", b"SSH-1.99-"];

/// Whether these are the first bytes of a side that speaks SSH in one of these versions; none while that can't be told.
pub fn speaks(bytes: &[u8], versions: &[&[u8]]) -> Option<bool> {
    let begun = |version: &[u8]| version.starts_with(&bytes[..bytes.len().min(version.len())]);
    let Some(version) = versions.iter().find(|version| begun(version)) else { return Some(false) };
    let Some(end) = bytes.iter().take(LONGEST).position(|byte| *byte == b'\n') else {
        return (bytes.len() >= LONGEST).then_some(false);
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    let software = line.get(version.len()..).unwrap_or_default();
    let is_named = software.first().is_some_and(u8::is_ascii_graphic);
    Some(is_named && software.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own() {
        for line in ["SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH-2.0-Go\n", "SSH-2.0-x\r\nmore \0"] {
            assert_eq!(speaks(line.as_bytes(), CLIENT), Some(true), "{line}");
            let end = line.find('\n').expect("a line");
            for length in 0..end {
                assert_eq!(speaks(&line.as_bytes()[..length], CLIENT), None, "{line} cut at {length}");
            }
        }
        assert_eq!(speaks(b"SSH-1.99-Cisco\r\n", SERVER), Some(true));
        assert_eq!(speaks(b"SSH-1.9", SERVER), None);
    }

    #[test]
    fn knows_nothing_else() {
        let long = format!("SSH-2.0-{}", "x".repeat(300));
        for other in [
            "SSH-X / HTTP/1.1\r\n",
            "SSH-1.99-x\r\n",
            "SSH-2.0-\r\n",
            "SSH-2.0- x\r\n",
            "SSH-2.0\n",
            "220 x\r\n",
            "SSH-2.0-x\0\r\n",
            "SSH-2.0-x\ry\r\n",
            &long,
        ] {
            assert_eq!(speaks(other.as_bytes(), CLIENT), Some(false), "{other}");
        }
    }
}
