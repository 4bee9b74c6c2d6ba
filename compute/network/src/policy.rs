//! What sandboxes may reach, as one nftables table per server.
//!
//! Default: the internet, and our resolver. Not: the host's own services, sandboxes that it is not linked with, addresses of
//! cloud metadata services, any source address but their own, IPv6. A refusal is told at once, by ICMP, so that programs
//! need not wait. The rules match interfaces by prefix, so that creating a sandbox changes none of them.
//!
//! A link is a permission of its own: what a sandbox may reach outside does not limit it, unless that is nothing at all.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::egress::{ALLOWED, CLOSED, CONFINED};
use crate::links::LINKED;
use crate::{Claim, Confined, Links, NetworkError};

/// Never reachable, beside addresses of sandboxes that ended: this network, loopback, link-local (where most clouds serve metadata), multicast and reserved ranges,
/// and the metadata addresses that lie elsewhere (Alibaba, Azure, Oracle).
const FORBIDDEN: &str = "0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3, 100.100.100.200, 168.63.129.16, \
                         192.0.0.192";

/// Installs the rules in place of earlier ones, atomically, and lets the host forward packets.
///
/// `running` are the rules of sandboxes that run already, `links` are who of these reach each other.
pub fn install(claim: Claim, running: &[Confined], links: &Links) -> Result<(), NetworkError> {
    let table = table(claim);
    let elements: String = running.iter().map(|confined| confined.declare(&table)).collect();
    run(&(rules(claim) + &elements + &links.declare()))?;
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").map_err(NetworkError::io("IPv4 forwarding of the host"))
}

/// Removes the rules; they may be gone already.
pub fn remove(claim: Claim) -> Result<(), NetworkError> {
    let table = table(claim);
    run(&format!("table inet {table} {{}}\ndelete table inet {table}\n"))
}

pub(crate) fn table(claim: Claim) -> String {
    format!("sebring_{}", claim.place)
}

fn rules(claim: Claim) -> String {
    let table = table(claim);
    let ours = format!("{}*", claim.interface_prefix());
    let gateway = claim.subnet.gateway();
    let subnet = claim.subnet;
    format!(
        r#"table inet {table} {{}}
delete table inet {table}
table inet {table} {{
    set {CLOSED} {{ type ipv4_addr; }}
    set {CONFINED} {{ type ipv4_addr; }}
    set {ALLOWED} {{ type ipv4_addr . ipv4_addr; flags interval; }}
    set {LINKED} {{ type ipv4_addr . ipv4_addr; }}
    chain input {{
        type filter hook input priority filter - 5; policy accept;
        iifname "{ours}" jump to_host
    }}
    chain to_host {{
        fib saddr . iif oif missing drop
        ct state established,related return
        ip saddr @{CLOSED} reject with icmpx admin-prohibited
        ip daddr {gateway} meta l4proto {{ tcp, udp }} th dport 53 return
        reject with icmpx admin-prohibited
    }}
    chain forward {{
        type filter hook forward priority filter - 5; policy accept;
        iifname "{ours}" jump from_sandbox
        oifname "{ours}" jump to_sandbox
    }}
    chain from_sandbox {{
        meta nfproto ipv6 drop
        fib saddr . iif oif missing drop
        ip saddr @{CLOSED} reject with icmpx admin-prohibited
        oifname "sbx*" ip daddr != @{CLOSED} ip saddr . ip daddr @{LINKED} accept
        oifname "sbx*" reject with icmpx admin-prohibited
        ip daddr {{ {FORBIDDEN}, {subnet} }} reject with icmpx admin-prohibited
        ip saddr @{CONFINED} ip saddr . ip daddr != @{ALLOWED} reject with icmpx admin-prohibited
    }}
    chain to_sandbox {{
        ct state established,related return
        drop
    }}
    chain outbound {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {subnet} oifname != "sbx*" masquerade
    }}
}}
"#
    )
}

pub(crate) fn run(rules: &str) -> Result<(), NetworkError> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| NetworkError::Policy(format!("nft: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(rules.as_bytes()).map_err(NetworkError::io("rules for nft"))?;
    }
    let output = child.wait_with_output().map_err(NetworkError::io("end of nft"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(NetworkError::Policy(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}
