//! Whether the host forwards IPv4 packets, which sandboxes need.
//!
//! The kernel asks the interface that a packet comes in by. Where nobody else has the host forward (`ip_forward` is 0), each
//! interface is allowed to on its own, and our rules let through what comes from or goes to sandboxes only; so `ip_forward`
//! goes on to say what others want. Where it is 1 already nothing is changed.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A directory per interface. `default` is for those to come; `all` is `ip_forward` itself.
const INTERFACES: &str = "/proc/sys/net/ipv4/conf";
/// Interfaces that forwarded before we came, a line each.
const BEFORE: &str = "/run/sebring/forwarding";

/// Lets the host forward; true when it does so on our account only.
pub(crate) fn begin() -> io::Result<bool> {
    begin_in(Path::new(INTERFACES), Path::new(BEFORE))
}

/// Undoes [`begin`], when no server has a place on the host any more.
pub(crate) fn end() -> io::Result<()> {
    end_in(Path::new(INTERFACES), Path::new(BEFORE))
}

fn begin_in(interfaces: &Path, before: &Path) -> io::Result<bool> {
    if forwards(&interfaces.join("all")) {
        return Ok(false);
    }
    let (forward, others): (Vec<_>, Vec<_>) = list(interfaces)?.into_iter().partition(|path| forwards(path));
    if !before.exists() {
        let names: Vec<_> = forward.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        fs::write(before, names.join("\n"))?;
    }
    others.iter().try_for_each(|path| set(path, "1"))?;
    Ok(true)
}

fn end_in(interfaces: &Path, before: &Path) -> io::Result<()> {
    let kept = match fs::read_to_string(before) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let kept: HashSet<&str> = kept.lines().collect();
    // Whoever has had the host forward meanwhile goes on.
    if !forwards(&interfaces.join("all")) {
        let ours = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(|n| !kept.contains(n));
        list(interfaces)?.iter().filter(|path| ours(path)).try_for_each(|path| set(path, "0"))?;
    }
    fs::remove_file(before)
}

/// All but `all`.
fn list(interfaces: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(interfaces)?.map(|entry| Ok(entry?.path()));
    entries.filter(|path| path.as_ref().map_or(true, |path: &PathBuf| !path.ends_with("all"))).collect()
}

fn forwards(interface: &Path) -> bool {
    fs::read_to_string(interface.join("forwarding")).is_ok_and(|text| text.trim() != "0")
}

fn set(interface: &Path, value: &str) -> io::Result<()> {
    match fs::write(interface.join("forwarding"), value) {
        // It is gone: sandboxes end all the time.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(values: &[(&str, &str)]) -> tempfile::TempDir {
        let scratch = tempfile::tempdir().expect("a directory");
        for (name, value) in values {
            fs::create_dir_all(scratch.path().join("conf").join(name)).expect("a directory");
            set(&scratch.path().join("conf").join(name), value).expect("written");
        }
        scratch
    }

    fn values(scratch: &tempfile::TempDir, names: &[&str]) -> Vec<bool> {
        names.iter().map(|name| forwards(&scratch.path().join("conf").join(name))).collect()
    }

    #[test]
    fn takes_back_what_it_gave() {
        let host = host(&[("all", "0\n"), ("default", "0\n"), ("eth0", "0\n"), ("vpn", "1\n")]);
        let (conf, before) = (host.path().join("conf"), host.path().join("before"));
        // A second server, or the same one again.
        for _ in 0..2 {
            assert!(begin_in(&conf, &before).expect("begun"));
            assert_eq!(values(&host, &["all", "default", "eth0", "vpn"]), [false, true, true, true]);
        }
        end_in(&conf, &before).expect("ended");
        assert_eq!(values(&host, &["all", "default", "eth0", "vpn"]), [false, false, false, true]);
        end_in(&conf, &before).expect("nothing to do");
    }

    #[test]
    fn leaves_a_host_that_forwards_alone() {
        let host = host(&[("all", "1\n"), ("eth0", "0\n")]);
        let (conf, before) = (host.path().join("conf"), host.path().join("before"));
        assert!(!begin_in(&conf, &before).expect("begun"));
        assert_eq!(values(&host, &["eth0"]), [false]);
        // Somebody else began meanwhile.
        fs::write(&before, "").expect("written");
        end_in(&conf, &before).expect("ended");
        assert!(values(&host, &["all"])[0] && !before.exists());
    }
}
