//! What sandboxes may reach, as one nftables table per server.
//!
//! Default: the internet, and our resolver. Not: the host's own services, sandboxes that it is not linked with, addresses of
//! cloud metadata services, protected ranges, any source address but their own, IPv6. A refusal is told at once, by ICMP, so that
//! programs need not wait, and to [`crate::refused`]. The rules match interfaces by prefix, so that creating a sandbox
//! changes none of them.
//!
//! What a packet is sent to is judged as the sandbox wrote it (chain `as_sent`) and as others translated it (`from_sandbox`), so
//! that a port which the host publishes is as closed as its other ports. The gateway's address answers sandboxes only: Linux
//! takes packets for it on every interface.
//!
//! The kernel notes each connection in one table for the whole host. A sandbox has a share of it, counted per connection
//! (`ct count`); since that leaves out those that have just ended, these are noted for seconds only, and so many may begin a
//! second. Only the first packet of a connection pays for that.
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
use crate::refused::{self, CROWDED, HEAD};
use crate::unreachable::FORBIDDEN;
use crate::{Claim, Confined, Links, NetworkError, forwarding};

/// Ranges of the configuration, which nobody reaches.
const PROTECTED: &str = "protected";
/// Sources of refused packets, each with how many of these are told of.
const TOLD: &str = "told";
/// Sources whose connections the kernel notes, each with these.
pub(crate) const CONNECTIONS: &str = "connections";
/// Sources that began a connection since they were last forgotten.
pub(crate) const BEGAN: &str = "began";
/// Connections of one sandbox at least, however small the kernel's table is.
const FEWEST: u32 = 4096;
/// One sandbox has one of so many places in that table.
const SHARE: u32 = 32;

/// Installs the rules in place of earlier ones, atomically, and lets the host forward packets.
///
/// `running` are the rules of sandboxes that run already, `links` are who of these reach each other; connections to what
/// names open go to the port `inspector` of the gateway.
pub(crate) fn install(
    claim: Claim,
    protected: &[Ipv4Net],
    inspector: u16,
    running: &[Confined],
    links: &Links,
) -> Result<(), NetworkError> {
    let table = table(claim);
    let ranges = protected.iter().map(|range| format!("add element inet {table} {PROTECTED} {{ {range} }}\n"));
    let began = running.iter().map(|c| format!("add element inet {table} {BEGAN} {{ {} }}\n", c.source));
    let elements: String = ranges.chain(running.iter().map(|confined| confined.declare(&table))).chain(began).collect();
    let guarded = forwarding::begin().map_err(NetworkError::io("IPv4 forwarding of the host"))?;
    run(&(rules(claim, inspector, most_connections(), guarded) + &elements + &links.declare()))
}

/// How many connections of one sandbox the kernel notes.
fn most_connections() -> u32 {
    // Absent until the rules make the kernel load the code.
    let table = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max");
    let most = table.ok().and_then(|text| text.trim().parse::<u32>().ok()).unwrap_or_default();
    (most / SHARE).max(FEWEST)
}

/// Removes the rules; they may be gone already.
pub fn remove(claim: Claim) -> Result<(), NetworkError> {
    let table = table(claim);
    run(&format!("table inet {table} {{}}\ndelete table inet {table}\n"))
}

pub(crate) fn table(claim: Claim) -> String {
    format!("sebring_{}", claim.place)
}

/// `guarded`: the host forwards on our account only.
fn rules(claim: Claim, inspector: u16, connections: u32, guarded: bool) -> String {
    let table = table(claim);
    let ours = format!("{}*", claim.interface_prefix());
    let gateway = claim.subnet.gateway();
    let subnet = claim.subnet;
    let forbidden = FORBIDDEN.map(|range| range.to_string()).join(", ");
    let group = refused::group(claim);
    let guard = if guarded {
        r#"iifname != "sbx*" oifname != "sbx*" ct state new ct status ! dnat drop"#
    } else {
        "# Others have the host forward, too."
    };
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
    set {BEGAN} {{ type ipv4_addr; flags dynamic; size 65536; }}
    set {CONNECTIONS} {{ type ipv4_addr; flags dynamic; size 65536; }}
    set full {{ type ipv4_addr; flags dynamic, timeout; timeout 1s; size 65536; }}
    set begins {{ type ipv4_addr; flags dynamic, timeout; timeout 1m; size 65536; }}
    set asks {{ type ipv4_addr; flags dynamic, timeout; timeout 1m; size 65536; }}
    set visits {{ type ipv4_addr; flags dynamic, timeout; timeout 1m; size 65536; }}
    set told_crowded {{ type ipv4_addr; flags dynamic, timeout; timeout 10m; size 65536; }}
    ct timeout ended {{
        protocol tcp; l3proto ip;
        policy = {{ time_wait: 10, close: 5 }}
    }}
    chain arriving {{
        type filter hook prerouting priority mangle; policy accept;
        iifname "{ours}" goto as_sent
    }}
    chain as_sent {{
        meta nfproto ipv6 drop
        fib saddr . iif oif missing drop
        ct state new ip daddr != {gateway} fib daddr type local goto refuse
        ct direction original ct status dnat fib daddr type local goto refuse
    }}
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
        iifname "{ours}" goto to_host
        ip daddr {gateway} iifname != "lo" ct state != {{ established, related }} drop
    }}
    chain to_host {{
        ct state established,related return
        ip saddr @{CLOSED} goto refuse
        ip daddr {gateway} meta l4proto {{ tcp, udp }} th dport 53 goto ask
        ip daddr {gateway} tcp dport {inspector} ct status dnat goto visit
        goto refuse
    }}
    chain ask {{
        ct status confirmed return
        update @asks {{ ip saddr limit rate over 200/second burst 2000 packets }} goto crowded
        goto begin
    }}
    chain visit {{
        ct status confirmed return
        update @visits {{ ip saddr limit rate over 50/second burst 1000 packets }} goto crowded
        goto begin
    }}
    chain forward {{
        type filter hook forward priority filter - 5; policy accept;
        iifname "{ours}" jump from_sandbox
        oifname "{ours}" jump to_sandbox
        {guard}
    }}
    chain from_sandbox {{
        ip saddr @{CLOSED} goto refuse
        oifname "sbx*" ip daddr != @{CLOSED} ip saddr . ip daddr @{LINKED} goto to_linked
        oifname "sbx*" goto refuse
        ip daddr {{ {forbidden}, {subnet} }} goto refuse
        ip daddr @{PROTECTED} goto refuse
        ip saddr @{CONFINED} ip saddr . ip daddr != @{ALLOWED} goto refuse
        ct direction original ct status dnat jump before_translation
        ct status ! confirmed jump begin
    }}
    chain before_translation {{
        ct original ip daddr {{ {forbidden}, {subnet} }} goto refuse
        ct original ip daddr @{PROTECTED} goto refuse
        ip saddr @{CONFINED} ip saddr . ct original ip daddr != @{ALLOWED} goto refuse
    }}
    chain to_linked {{
        ct status ! confirmed jump begin
        accept
    }}
    chain begin {{
        ip saddr @full goto crowded
        update @begins {{ ip saddr limit rate over 500/second burst 4096 packets }} goto crowded
        add @{CONNECTIONS} {{ ip saddr ct count over {connections} }} add @full {{ ip saddr }} goto crowded
        meta l4proto tcp ct timeout set "ended"
        add @{BEGAN} {{ ip saddr }}
    }}
    chain crowded {{
        update @told_crowded {{ ip saddr limit rate 1/minute burst 1 packets }} log prefix "{CROWDED}" group {group} snaplen {HEAD}
        drop
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
