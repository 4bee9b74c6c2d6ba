//! What sandboxes may reach, as one nftables table per server.
//!
//! Default: the internet, and our resolver. Not: the host's own services, sandboxes that it is not linked with, addresses of
//! cloud metadata services, protected ranges, any source address but their own, IPv6. A refusal is told at once, by ICMP, so that
//! programs need not wait, and to [`crate::refused`]. The rules match interfaces by prefix, so that creating a sandbox
//! changes none of them.
//!
//! A link is a permission of its own: what a sandbox may reach outside does not limit it, unless that is nothing at all.
//!
//! What names opened is reached by way of the inspector alone: the first packet of a connection, which is the only one
//! that rules of address translation see, sends it there. Such connections never come to the chain `forward`.

use std::io::Write;
use std::process::{Command, Stdio};

use ipnet::Ipv4Net;

use crate::egress::{ALLOWED, CLOSED, CONFINED, OPENED};
use crate::links::LINKED;
use crate::refused::{self, HEAD};
use crate::unreachable::FORBIDDEN;
use crate::{Claim, Confined, Links, NetworkError};

/// Ranges of the configuration, which nobody reaches.
const PROTECTED: &str = "protected";
/// Sources of refused packets, each with how many of these are told of.
const TOLD: &str = "told";

/// Installs the rules in place of earlier ones, atomically, and lets the host forward packets.
///
/// `running` are the rules of sandboxes that run already, `links` are who of these reach each other; connections to what names open go to the port `inspector` of the
/// gateway.
pub(crate) fn install(
    claim: Claim,
    protected: &[Ipv4Net],
    inspector: u16,
    running: &[Confined],
    links: &Links,
) -> Result<(), NetworkError> {
    let table = table(claim);
    let ranges = protected.iter().map(|range| format!("add element inet {table} {PROTECTED} {{ {range} }}\n"));
    let elements: String = ranges.chain(running.iter().map(|confined| confined.declare(&table))).collect();
    run(&(rules(claim, inspector) + &elements + &links.declare()))?;
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

fn rules(claim: Claim, inspector: u16) -> String {
    let table = table(claim);
    let ours = format!("{}*", claim.interface_prefix());
    let gateway = claim.subnet.gateway();
    let subnet = claim.subnet;
    let forbidden = FORBIDDEN.map(|range| range.to_string()).join(", ");
    let group = refused::group(claim);
    format!(
        r#"table inet {table} {{}}
delete table inet {table}
table inet {table} {{
    set {CLOSED} {{ type ipv4_addr; }}
    set {CONFINED} {{ type ipv4_addr; }}
    set {ALLOWED} {{ type ipv4_addr . ipv4_addr; flags interval; }}
    set {LINKED} {{ type ipv4_addr . ipv4_addr; }}
    set {OPENED} {{ type ipv4_addr . ipv4_addr; flags timeout; size 1048576; }}
    set {PROTECTED} {{ type ipv4_addr; flags interval; }}
    set {TOLD} {{ type ipv4_addr; flags dynamic, timeout; timeout 1m; size 65536; }}
    chain named {{
        type nat hook prerouting priority dstnat - 5; policy accept;
        iifname "{ours}" ip saddr . ip daddr @{OPENED} meta l4proto tcp jump to_inspector
    }}
    chain to_inspector {{
        ip saddr . ip daddr @{ALLOWED} return
        ip daddr {{ {forbidden}, {subnet} }} return
        ip daddr @{PROTECTED} return
        fib daddr type local return
        fib daddr oifname "sbx*" return
        meta l4proto tcp dnat ip to {gateway}:{inspector}
    }}
    chain input {{
        type filter hook input priority filter - 5; policy accept;
        iifname "{ours}" jump to_host
    }}
    chain to_host {{
        fib saddr . iif oif missing drop
        ct state established,related return
        ip saddr @{CLOSED} goto refuse
        ip daddr {gateway} meta l4proto {{ tcp, udp }} th dport 53 return
        ip daddr {gateway} tcp dport {inspector} ct status dnat return
        goto refuse
    }}
    chain forward {{
        type filter hook forward priority filter - 5; policy accept;
        iifname "{ours}" jump from_sandbox
        oifname "{ours}" jump to_sandbox
    }}
    chain from_sandbox {{
        meta nfproto ipv6 drop
        fib saddr . iif oif missing drop
        ip saddr @{CLOSED} goto refuse
        oifname "sbx*" ip daddr != @{CLOSED} ip saddr . ip daddr @{LINKED} accept
        oifname "sbx*" goto refuse
        ip daddr {{ {forbidden}, {subnet} }} goto refuse
        ip daddr @{PROTECTED} goto refuse
        ip saddr @{CONFINED} ip saddr . ip daddr != @{ALLOWED} goto refuse
    }}
    chain refuse {{
        update @{TOLD} {{ ip saddr limit rate 20/second burst 50 packets }} log group {group} snaplen {HEAD}
        reject with icmpx admin-prohibited
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
