//! The kernel: version, privileges, cgroups, namespaces, packet filter, virtual machines.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use rustix::thread::CapabilitySet;
use sebring_runner::HostSetting;
use sebring_runtime::RuntimeError;
use sebring_runtime::cgroup::{self, Controller, Version};
use sebring_runtime::namespaces::{IdRange, Namespaces, RANGE_LENGTH};
use sebring_runtime::ward::Ward;

use super::{Finding, chain};

/// Overlay layers can be id-mapped since this release (Linux 5.19 changelog, "overlayfs: support idmapped layers").
const OLDEST: (u32, u32) = (5, 19);
/// A range of ids for trials; the runner's own ranges start elsewhere, and nothing of the trial outlives it.
pub(super) const TRIAL_IDS: IdRange = IdRange { base: 0x7fff_0000 - 0x1_0000 };
/// One of each kind goes into a sandbox.
const NAMESPACES: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
/// Fewer namespaces than this may stop a busy server early.
const MANY: u64 = 2000;
/// What the server's own table uses, in a namespace where it can do no harm.
const RULES: &str = "table inet probe {
    chain forward { type filter hook forward priority 0; fib saddr . iif oif missing drop; ct state established accept; }
    chain outward { type nat hook postrouting priority 100; masquerade; }
}
";

pub(super) fn look(root: bool) -> Vec<Finding> {
    let mut findings = vec![release(), privileges(root)];
    findings.extend(cgroups());
    findings.extend([namespace_limits(), isolation(), kvm()]);
    if root {
        findings.extend([user_namespaces(), counted(), host_settings(), nftables()]);
    }
    findings
}

fn release() -> Finding {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let found = format!("Linux {release} on {}", uname.machine().to_string_lossy());
    match version(&release) {
        Some(version) if version >= OLDEST => Finding::ok("kernel", found),
        _ => Finding::missing("kernel", found, "run Linux 5.19 or newer"),
    }
}

/// Major and minor number of a kernel release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn privileges(root: bool) -> Finding {
    const NAME: &str = "privileges";
    if !root {
        return Finding::missing(NAME, "not root: not everything was looked at", "run as root, or with sudo");
    }
    let Ok(sets) = rustix::thread::capabilities(None) else {
        return Finding::ok(NAME, "root; capabilities unknown");
    };
    let needed = CapabilitySet::SYS_ADMIN
        | CapabilitySet::NET_ADMIN
        | CapabilitySet::SETUID
        | CapabilitySet::SETGID
        | CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::KILL
        | CapabilitySet::MKNOD;
    if !sets.effective.contains(needed) {
        let found = format!("root, but without {:?}", needed.difference(sets.effective));
        return Finding::missing(NAME, found, "run with all capabilities, not in a restricted container");
    }
    if sets.effective.contains(CapabilitySet::SYS_RESOURCE) {
        Finding::ok(NAME, "root")
    } else {
        Finding::limited(
            NAME,
            "root without CAP_SYS_RESOURCE",
            "the server can't raise its hard limit on descriptors, which may end how many sandboxes run",
            "give the server CAP_SYS_RESOURCE, or a high limit on descriptors",
        )
    }
}

fn cgroups() -> Vec<Finding> {
    match cgroup::detect() {
        Ok(found) => {
            let text =
                found.iter().map(|(controller, version)| format!("{} {}", controller.name(*version), version.name()));
            vec![
                Finding::ok("cgroups", text.collect::<Vec<_>>().join(", ")),
                io_weight(&found),
                swap(&found),
                overcommit(),
            ]
        }
        Err(error) => vec![Finding::missing(
            "cgroups",
            chain(&error),
            "mount cgroup2 at /sys/fs/cgroup with the controllers cpu, memory and pids",
        )],
    }
}

fn io_weight(found: &[(Controller, Version)]) -> Finding {
    const NAME: &str = "disk shares";
    if found.iter().any(|(controller, _)| *controller == Controller::Io) {
        Finding::ok(NAME, "by weight, in proportion to CPUs")
    } else {
        Finding::limited(
            NAME,
            "no disk is shared out by weight",
            "one busy sandbox can slow the disk for others",
            "echo bfq > /sys/block/<disk>/queue/scheduler (or set io.cost.qos on cgroup v2), then start the server again",
        )
    }
}

/// Whether memory limits count swap.
fn swap(found: &[(Controller, Version)]) -> Finding {
    const NAME: &str = "swap";
    // The first line is a heading.
    let used = fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1);
    let v1 = found.contains(&(Controller::Memory, Version::V1));
    match (used, cgroup::limits_swap()) {
        (false, _) => Finding::ok(NAME, "none"),
        (true, true) => Finding::ok(NAME, "sandboxes get none"),
        (true, false) => Finding::limited(
            NAME,
            "used, and not accounted for",
            "a sandbox can use swap beyond its memory limit",
            if v1 { "boot with swapaccount=1" } else { "swapoff -a, or a kernel with CONFIG_SWAP and CONFIG_MEMCG" },
        ),
    }
}

/// Whether memory that is only promised is counted, which the kernel does for the whole host.
fn overcommit() -> Finding {
    const NAME: &str = "promised memory";
    if fs::read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|text| text.trim() == "2") {
        return Finding::limited(
            NAME,
            "limited for the whole host (vm.overcommit_memory is 2)",
            "a sandbox can have all of it promised without using any, and no other program gets memory",
            "sysctl -w vm.overcommit_memory=0",
        );
    }
    Finding::ok(NAME, "not limited for the whole host")
}

/// What a server makes once, here for a trial.
pub(super) fn trial_ward() -> Result<Ward, RuntimeError> {
    Ward::open(&std::env::temp_dir(), TRIAL_IDS.base + RANGE_LENGTH)
}

fn user_namespaces() -> Finding {
    match trial_ward().and_then(|ward| Namespaces::prepare(TRIAL_IDS, &ward)) {
        Ok(_) => Finding::ok("user namespaces", "made and mapped one within another"),
        Err(error) => Finding::missing(
            "user namespaces",
            chain(&error),
            "sysctl -w user.max_user_namespaces=100000, in a kernel with CONFIG_USER_NS; where there is one of these, \
             kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    }
}

/// Whether sandboxes can have message queues and signals of their own.
fn counted() -> Finding {
    const NAME: &str = "queues and signals";
    match trial_ward().map(|ward| ward.shares_suffice()) {
        Ok(true) => Finding::ok(NAME, "as many for each sandbox as it may have"),
        Ok(false) => Finding::limited(
            NAME,
            "the limits of this process are for all sandboxes together, a quarter for one",
            "a few sandboxes can leave the others no POSIX message queues, timers, or locked shared memory",
            "give the server CAP_SYS_RESOURCE, or no limits (LimitMSGQUEUE, LimitSIGPENDING and LimitMEMLOCK=infinity)",
        ),
        Err(error) => Finding::limited(NAME, chain(&error), "unknown", "see user namespaces"),
    }
}

/// What a server raises when it starts.
fn host_settings() -> Finding {
    const NAME: &str = "host settings";
    let low = HostSetting::ALL
        .into_iter()
        .filter_map(|setting| Some((setting, setting.present().ok()?)))
        .filter(|(setting, present)| *present < setting.least);
    let (raised, stuck): (Vec<_>, Vec<_>) = low.partition(|(setting, _)| setting.is_writable());
    let list = |settings: &[(HostSetting, u64)]| {
        let lines =
            settings.iter().map(|(setting, present)| format!("{} {present} (of {})", setting.name, setting.least));
        lines.collect::<Vec<_>>().join(", ")
    };
    match (raised.is_empty(), stuck.is_empty()) {
        (true, true) => Finding::ok(NAME, "high enough for many sandboxes"),
        (false, true) => Finding::ok(NAME, format!("a server will raise {}", list(&raised))),
        (_, false) => Finding::limited(
            NAME,
            format!("too low, and read-only: {}", list(&stuck)),
            "a few sandboxes can have all processes, neighbours or connections that the host has for all",
            "sysctl -w <name>=<number> on the host",
        ),
    }
}

fn namespace_limits() -> Finding {
    const NAME: &str = "namespace limits";
    let limit = |kind: &&str| {
        let text = fs::read_to_string(format!("/proc/sys/user/max_{kind}_namespaces")).ok()?;
        Some((text.trim().parse::<u64>().ok()?, format!("{} of the kind {kind}", text.trim())))
    };
    match NAMESPACES.iter().filter_map(limit).min() {
        None => Finding::ok(NAME, "none"),
        Some((least, text)) if least >= MANY => Finding::ok(NAME, format!("at least {text}")),
        Some((_, text)) => Finding::limited(
            NAME,
            format!("only {text}"),
            "not more sandboxes than that can run",
            "sysctl -w user.max_<kind>_namespaces=100000",
        ),
    }
}

/// What the profile *system* offers beyond what no sandbox does without.
fn isolation() -> Finding {
    const NAME: &str = "isolation";
    let devices = fs::read_to_string("/proc/misc").unwrap_or_default();
    let lacks: Vec<_> = ["fuse", "tun"].into_iter().filter(|name| !has_device(&devices, name)).collect();
    if lacks.is_empty() {
        return Finding::ok(NAME, "strict, and system with FUSE and tunnels");
    }
    Finding::limited(
        NAME,
        format!("strict, and system without {}", lacks.join(" and ")),
        "root inside can't mount file systems in user space, or make tunnels",
        "modprobe fuse; modprobe tun",
    )
}

/// Whether `/proc/misc` lists a device: lines of number and name.
fn has_device(misc: &str, name: &str) -> bool {
    misc.lines().any(|line| line.split_ascii_whitespace().nth(1) == Some(name))
}

fn nftables() -> Finding {
    const MEND: &str = "apt-get install nftables, on a kernel with nf_tables, fib and masquerade";
    let attempt = || {
        let mut child = Command::new("unshare")
            .args(["--net", "--", "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // When nft is missing the pipe breaks; its status says more.
            let _ = input.write_all(RULES.as_bytes());
        }
        child.wait_with_output()
    };
    match attempt() {
        Ok(output) if output.status.success() => Finding::ok("nftables", "filter, fib and masquerade work"),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            Finding::missing("nftables", text.lines().next().unwrap_or("failed").to_owned(), MEND)
        }
        Err(error) => Finding::missing("nftables", chain(&error), MEND),
    }
}

fn kvm() -> Finding {
    match fs::File::options().read(true).write(true).open("/dev/kvm") {
        Ok(_) => Finding::ok("kvm", "/dev/kvm can be used"),
        Err(error) => Finding::limited(
            "kvm",
            format!("/dev/kvm: {error}"),
            "nothing yet: sandboxes that are virtual machines are not in this version",
            "enable virtualization in the firmware or, in a virtual machine, nested virtualization",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{has_device, version};

    #[test]
    fn finds_devices_by_their_whole_name() {
        let misc = "200 tun\n229 fuse\n 59 cuse\n";
        assert!(has_device(misc, "tun") && has_device(misc, "fuse"));
        assert!(!has_device(misc, "use") && !has_device("", "tun"));
    }

    #[test]
    fn reads_kernel_releases() {
        assert_eq!(version("6.12.41+deb13-amd64"), Some((6, 12)));
        assert_eq!(version("5.19-rc1"), Some((5, 19)));
        assert_eq!(version("unknown"), None);
    }
}
