//! A place on this host: several servers, each with a data directory of its own, must not share addresses or user ids.
//!
//! Place *n* is a file `/run/sebring/<n>` that names the data directory. It stays when the server ends, because its
//! sandboxes live on, and counts as free when that directory is gone.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::{NetworkError, Subnet};

const DIRECTORY: &str = "/run/sebring";
/// Each place has 4,096 ranges of user ids, and there are 65,536 in all.
const PLACES: u8 = 16;
/// Sandboxes of place 0 get 10.200.0.0/16.
const FIRST_SUBNET: u8 = 200;

/// One server's place on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// 0 to 15.
    pub place: u8,
    pub subnet: Subnet,
}

impl Claim {
    /// The place of this data directory: the one it had before, or the first that is free.
    pub fn take(data_dir: &Path) -> Result<Self, NetworkError> {
        std::fs::create_dir_all(DIRECTORY).map_err(NetworkError::io("creation of /run/sebring"))?;
        if let Some(place) = (0..PLACES).find(|&place| owner(place).as_deref() == Some(data_dir)) {
            return Ok(Self::at(place));
        }
        remove_stale();
        let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
        for place in 0..PLACES {
            let claim = Self::at(place);
            let stale = owner(place).is_some_and(|dir| !dir.exists());
            if stale {
                let _ = std::fs::remove_file(file(place));
            }
            if !is_routed(&routes, claim.subnet) && create(place, data_dir)? {
                return Ok(claim);
            }
        }
        Err(NetworkError::NoSubnet(format!(
            "all {PLACES} places of this host are taken or their networks (10.{FIRST_SUBNET}.0.0/16 and following) are \
             routed elsewhere: purge an unused data directory (`sebring purge`), see {DIRECTORY}"
        )))
    }

    /// The place of this data directory, if it has one.
    pub fn find(data_dir: &Path) -> Option<Self> {
        (0..PLACES).find(|&place| owner(place).as_deref() == Some(data_dir)).map(Self::at)
    }

    /// Gives the place up.
    pub fn release(self) -> io::Result<()> {
        std::fs::remove_file(file(self.place))?;
        match std::fs::remove_dir(DIRECTORY) {
            // Another server has a place, too.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            other => other,
        }
    }

    /// The largest packet, bytes, that leaves the host on its default route: larger ones from sandboxes would be refused
    /// there. 1,500, Ethernet's, when that is not known.
    pub fn packet_size(self) -> u32 {
        default_interface()
            .and_then(|interface| std::fs::read_to_string(format!("/sys/class/net/{interface}/mtu")).ok())
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(1500)
    }

    /// Begins the names of all host interfaces of this server's sandboxes.
    pub fn interface_prefix(self) -> String {
        format!("sbx{:x}-", self.place)
    }

    fn at(place: u8) -> Self {
        Self { place, subnet: Subnet::new(10, FIRST_SUBNET + place) }
    }
}

fn file(place: u8) -> PathBuf {
    Path::new(DIRECTORY).join(place.to_string())
}

fn owner(place: u8) -> Option<PathBuf> {
    let bytes = std::fs::read(file(place)).ok()?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(&bytes)))
}

/// Whether we were the one to create it.
fn create(place: u8, data_dir: &Path) -> Result<bool, NetworkError> {
    let write = || {
        // Written aside and linked, so that nobody sees it without its owner.
        let new = Path::new(DIRECTORY).join(format!(".{}", std::process::id()));
        std::fs::File::create(&new)?.write_all(data_dir.as_os_str().as_bytes())?;
        let linked = std::fs::hard_link(&new, file(place));
        std::fs::remove_file(&new)?;
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            other => other.map(|()| true),
        }
    };
    write().map_err(NetworkError::io("claim of a place in /run/sebring"))
}

/// Removes what servers left that ended between the two steps of [`create`].
fn remove_stale() {
    for entry in std::fs::read_dir(DIRECTORY).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let writer = name.to_str().and_then(|name| name.strip_prefix('.'));
        if writer.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Reads `/proc/net/route`, whose addresses are hexadecimal in host byte order.
fn is_routed(routes: &str, subnet: Subnet) -> bool {
    routes.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|text: &&str| u32::from_str_radix(text, 16).ok());
        let (Some(destination), Some(mask)) = (number(1), number(7)) else { return false };
        let prefix = mask.count_ones();
        prefix > 0 && subnet.overlaps(Ipv4Addr::from(u32::from_be(destination)), prefix)
    })
}

/// The interface of the route with no mask and the lowest metric.
fn default_interface() -> Option<String> {
    let routes = std::fs::read_to_string("/proc/net/route").ok()?;
    routes
        .lines()
        .skip(1)
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000"))
        .min_by_key(|fields| fields[6].parse::<u32>().unwrap_or(u32::MAX))
        .map(|fields| fields[0].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_routed_network_is_not_taken() {
        let routes = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
                      eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n\
                      wg0 0000C80A 00000000 0001 0 0 0 0000FFFF 0 0 0\n";
        assert!(is_routed(routes, Subnet::new(10, 200)));
        assert!(!is_routed(routes, Subnet::new(10, 201)));
    }
}
