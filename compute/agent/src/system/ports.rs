//! Ports that something in the sandbox listens on, from the kernel's tables in `/proc/net`.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;

use serde::Serialize;

use crate::http::error::Failure;

/// What `GET /port` lists: the range of development servers, as the official daemon does.
const LISTED: RangeInclusive<u16> = 3000..=9999;
/// `TCP_LISTEN` of the kernel's `tcp_states.h`.
const LISTEN: &str = "0A";

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = PortList))]
pub struct Ports {
    ports: Vec<u16>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = IsPortInUseResponse))]
#[serde(rename_all = "camelCase")]
pub struct InUse {
    is_in_use: bool,
}

/// `GET /port`.
pub fn list() -> Ports {
    Ports { ports: listening().into_iter().filter(|port| LISTED.contains(port)).collect() }
}

/// `GET /port/{port}/in-use`.
pub fn in_use(port: &str) -> Result<InUse, Failure> {
    let number: u16 =
        port.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
            Failure::bad_request(format!("{port:?} is no port: give a number from 1 to {}", u16::MAX))
        })?;
    Ok(InUse { is_in_use: listening().contains(&number) })
}

fn listening() -> BTreeSet<u16> {
    // A kernel without IPv6 has no second table.
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().filter_map(|path| fs::read_to_string(path).ok());
    tables.flat_map(|table| table.lines().skip(1).filter_map(listening_port).collect::<Vec<_>>()).collect()
}

/// proc(5): `sl local_address rem_address st …`, the port in hexadecimal after the local address's colon.
fn listening_port(line: &str) -> Option<u16> {
    let mut fields = line.split_ascii_whitespace();
    let (_, port) = fields.nth(1)?.rsplit_once(':')?;
    (fields.nth(1)? == LISTEN).then(|| u16::from_str_radix(port, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listeners_count() {
        let line = "0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1 0 100 0 0 10 0";
        assert_eq!(listening_port(line), Some(3000));
        assert_eq!(listening_port(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(listening_port("garbage"), None);
    }
}
