//! A place on this host: several servers, each with a data directory of its own, must not share addresses or user ids.
//!
//! Place *n* is a file `/run/sebring/<n>` that names the data directory and, after a zero byte, the network, if that is not
//! the place's own. It stays when the server ends, because its sandboxes live on, and counts as free when that directory is
//! gone.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use crate::{NetworkError, Subnet, forwarding};

const DIRECTORY: &str = "/run/sebring";
/// Each place has 4,096 ranges of user ids, and there are 65,536 in all.
const PLACES: u8 = 16;
/// Sandboxes of place 0 get 10.200.0.0/16, unless the operator chose another network.
const FIRST_SUBNET: u8 = 200;

/// One server's place on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// 0 to 15.
    pub place: u8,
    pub subnet: Subnet,
}

impl Claim {
    /// The place of this data directory: the one it had before, with the network it has there, or the first that is free,
    /// with the network that is `wanted`.
    pub fn take(data_dir: &Path, wanted: Option<Subnet>) -> Result<Self, NetworkError> {
        std::fs::create_dir_all(DIRECTORY).map_err(NetworkError::io("creation of /run/sebring"))?;
        if let Some(claim) = Self::find(data_dir) {
            return Ok(claim);
        }
        if let Some(subnet) = wanted {
            check_free(subnet, data_dir)?;
        }
        remove_stale();
        let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
        let taken = others(data_dir);
        for place in 0..PLACES {
            let claim = Self { place, subnet: wanted.unwrap_or(own(place)) };
            let stale = read(place).is_some_and(|(dir, _)| !dir.exists());
            if stale {
                let _ = std::fs::remove_file(file(place));
            }
            let free = wanted.is_some()
                || (!is_routed(&routes, claim.subnet)
                    && !taken.iter().any(|(_, subnet)| subnet.overlaps(claim.subnet.network())));
            if free && create(claim, data_dir)? {
                return Ok(claim);
            }
        }
        Err(NetworkError::NoSubnet(format!(
            "all {PLACES} places of this host are taken or their networks (10.{FIRST_SUBNET}.0.0/16 and following) are \
             routed elsewhere: purge an unused data directory (`sebring purge`), or choose a network with \
             --sandbox-network; see {DIRECTORY}"
        )))
    }

    /// Gives the place another network; no sandbox may run.
    pub fn renumber(self, data_dir: &Path, subnet: Subnet) -> Result<Self, NetworkError> {
        check_free(subnet, data_dir)?;
        let claim = Self { place: self.place, subnet };
        let replace = || std::fs::rename(draft(claim, data_dir)?, file(claim.place));
        replace().map_err(NetworkError::io("claim of a network in /run/sebring"))?;
        Ok(claim)
    }

    /// The place of this data directory, if it has one.
    pub fn find(data_dir: &Path) -> Option<Self> {
        (0..PLACES).find_map(|place| {
            let (owner, subnet) = read(place)?;
            (owner == data_dir).then_some(Self { place, subnet })
        })
    }

    /// Gives the place up.
    pub fn release(self) -> io::Result<()> {
        std::fs::remove_file(file(self.place))?;
        if (0..PLACES).all(|place| read(place).is_none()) {
            forwarding::end()?;
        }
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
}

/// The network of a place for which nobody chose one.
fn own(place: u8) -> Subnet {
    Subnet::new(10, FIRST_SUBNET + place)
}

fn file(place: u8) -> PathBuf {
    Path::new(DIRECTORY).join(place.to_string())
}

/// Data directory and network of a place that is taken.
fn read(place: u8) -> Option<(PathBuf, Subnet)> {
    parse(place, &std::fs::read(file(place)).ok()?)
}

fn parse(place: u8, text: &[u8]) -> Option<(PathBuf, Subnet)> {
    let mut parts = text.splitn(2, |byte| *byte == 0);
    let dir = PathBuf::from(OsStr::from_bytes(parts.next()?));
    let subnet = match parts.next() {
        Some(network) => Subnet::of(std::str::from_utf8(network).ok()?.parse().ok()?).ok()?,
        None => own(place),
    };
    Some((dir, subnet))
}

/// The places of other data directories that are there.
fn others(data_dir: &Path) -> Vec<(PathBuf, Subnet)> {
    (0..PLACES).filter_map(read).filter(|(dir, _)| dir != data_dir && dir.exists()).collect()
}

/// Refuses a network that somebody else on this host uses.
fn check_free(subnet: Subnet, data_dir: &Path) -> Result<(), NetworkError> {
    if let Some((dir, other)) = others(data_dir).into_iter().find(|(_, other)| other.overlaps(subnet.network())) {
        let dir = dir.display();
        return Err(NetworkError::NoSubnet(format!("{subnet} overlaps with {other} of the data directory {dir}")));
    }
    if is_routed(&std::fs::read_to_string("/proc/net/route").unwrap_or_default(), subnet) {
        return Err(NetworkError::NoSubnet(format!(
            "{subnet} is routed elsewhere by this host: choose another network"
        )));
    }
    Ok(())
}

/// The file of a claim, written aside, so that nobody sees it half.
fn draft(claim: Claim, data_dir: &Path) -> io::Result<PathBuf> {
    let new = Path::new(DIRECTORY).join(format!(".{}", std::process::id()));
    let mut text = data_dir.as_os_str().as_bytes().to_vec();
    if claim.subnet != own(claim.place) {
        text.push(0);
        text.extend(claim.subnet.to_string().bytes());
    }
    std::fs::File::create(&new)?.write_all(&text)?;
    Ok(new)
}

/// Whether we were the one to create it.
fn create(claim: Claim, data_dir: &Path) -> Result<bool, NetworkError> {
    let write = || {
        let new = draft(claim, data_dir)?;
        let linked = std::fs::hard_link(&new, file(claim.place));
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
        let network = Ipv4Net::new(Ipv4Addr::from(u32::from_be(destination)), mask.count_ones() as u8);
        network.is_ok_and(|network| network.prefix_len() > 0 && subnet.overlaps(network))
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

    #[test]
    fn reads_claims_of_all_times() {
        let dir = PathBuf::from("/var/lib/sebring");
        assert_eq!(parse(3, b"/var/lib/sebring"), Some((dir.clone(), Subnet::new(10, 203))));
        let chosen = Subnet::of("172.20.0.0/20".parse().expect("a network")).expect("a private network");
        assert_eq!(parse(3, b"/var/lib/sebring\x00172.20.0.0/20"), Some((dir, chosen)));
        assert_eq!(parse(3, b"/var/lib/sebring\x00nonsense"), None);
    }
}
