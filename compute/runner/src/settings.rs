//! Settings of the whole host that a server raises when it starts: tables and numbers that all sandboxes share with the host,
//! whose defaults are meant for one system. They are never lowered, and stay when the server ends.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct HostSetting {
    /// As `sysctl` calls it.
    pub name: &'static str,
    /// What there must be at least.
    pub least: u64,
}

impl HostSetting {
    pub const ALL: [Self; 12] = [
        // A sandbox may have 2,048 processes, and 16 of them would have all of the default.
        Self { name: "kernel.pid_max", least: 1 << 22 },
        Self { name: "kernel.threads-max", least: 1 << 22 },
        // An open file is counted as memory of its sandbox, so there need be no number for all.
        Self { name: "fs.file-max", least: 1 << 40 },
        // The kernel counts what sandboxes watch for who made the ward, and each sandbox below that.
        Self { name: "fs.inotify.max_user_instances", least: 1 << 20 },
        Self { name: "fs.inotify.max_user_watches", least: 1 << 24 },
        // Neighbours of all network namespaces are in one table, of 1,024 by default. From the second number on the kernel
        // throws out what is old.
        Self { name: "net.ipv4.neigh.default.gc_thresh1", least: 1 << 12 },
        Self { name: "net.ipv4.neigh.default.gc_thresh2", least: 1 << 14 },
        Self { name: "net.ipv4.neigh.default.gc_thresh3", least: 1 << 16 },
        Self { name: "net.ipv6.neigh.default.gc_thresh1", least: 1 << 12 },
        Self { name: "net.ipv6.neigh.default.gc_thresh2", least: 1 << 14 },
        Self { name: "net.ipv6.neigh.default.gc_thresh3", least: 1 << 16 },
        // Each sandbox has a bound of its own below it.
        Self { name: "net.netfilter.nf_conntrack_max", least: 1 << 18 },
    ];

    /// What it is now.
    ///
    /// # Errors
    /// `NotFound` where the kernel, or what is loaded of it, has no such thing.
    pub fn present(&self) -> io::Result<u64> {
        let text = fs::read_to_string(self.path())?;
        text.trim()
            .parse()
            .map_err(|_| io::Error::new(ErrorKind::InvalidData, format!("not a number: {}", text.trim())))
    }

    /// Whether this process could raise it.
    pub fn is_writable(&self) -> bool {
        fs::File::options().write(true).open(self.path()).is_ok()
    }

    /// Answers what it was, if that was less.
    fn raise(&self) -> io::Result<Option<u64>> {
        let present = self.present()?;
        if present >= self.least {
            return Ok(None);
        }
        fs::write(self.path(), self.least.to_string())?;
        Ok(Some(present))
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/proc/sys").join(self.name.replace('.', "/"))
    }
}

/// Raises what is too low. A host that does not let us has less room, and `sebring doctor` says so.
pub(crate) fn raise() {
    for setting in HostSetting::ALL {
        let HostSetting { name, least } = setting;
        match setting.raise() {
            Ok(None) => {}
            Ok(Some(before)) => tracing::info!(name, before, now = least, "setting of the host raised"),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, name, least, "setting of the host not raised: sandboxes share what there is")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_numbers_of_this_kernel() {
        for setting in HostSetting::ALL {
            match setting.present() {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{}: {error}", setting.name),
            }
        }
        assert!(HostSetting::ALL[0].present().is_ok(), "there is always a largest pid");
    }
}
