//! Whether a request can be meant: names, sizes, intervals, and what this version lacks.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sebring_lifecycle::NewSandbox;
use sebring_types::{DomainPattern, NetworkSettings, OrganizationId, Resources};
use uuid::Uuid;

use crate::error::ApiError;
use crate::wire::{CreateSandbox, GpuPreference, ResizeSandbox};

type Checked<T = ()> = Result<T, ApiError>;

/// Minutes without activity until a sandbox is stopped, unless told.
const AUTO_STOP: u32 = 15;
/// Minutes stopped until a sandbox is archived, unless told: a week.
const AUTO_ARCHIVE: u32 = 7 * 24 * 60;
/// The label that tells the SDKs how to run code.
const LANGUAGE: &str = "code-toolbox-language";
const LANGUAGES: [&str; 3] = ["python", "javascript", "typescript"];
/// Letters of a name at most.
const NAME: usize = 128;
/// Bytes of a variable at most; the kernel takes no more in one string (execve(2)).
const VARIABLE: usize = 128 * 1024 - 1;
/// Bytes of all variables at most.
const ENVIRONMENT: usize = 1 << 20;
/// Labels at most, and bytes of one.
const LABELS: usize = 128;
const LABEL: usize = 1024;

/// Turns a request into what the lifecycle takes.
pub(crate) fn new_sandbox(body: CreateSandbox, organization: OrganizationId, limits: Resources) -> Checked<NewSandbox> {
    available(&body)?;
    if let Some(name) = &body.name {
        self::name(name)?;
    }
    if let Some(user) = &body.user {
        word(user, "user", 32)?;
    }
    if let Some(target) = &body.target {
        word(target, "target", 64)?;
    }
    let env = body.env.unwrap_or_default();
    environment(&env)?;
    let labels = body.labels.unwrap_or_default();
    self::labels(&labels)?;
    let snapshot = reference("snapshot", body.snapshot)?;
    let size_class = match reference("class", body.class)? {
        Some(_) if snapshot.is_some() => None,
        Some(class) => {
            let unknown = || ApiError::bad_request(format!("class is {class:?}: give small, medium or large"));
            Some(size_class(&format!("daytona-{class}"), limits).ok_or_else(unknown)?)
        }
        None => snapshot.as_deref().and_then(|snapshot| size_class(snapshot, limits)),
    };
    let snapshot = snapshot.filter(|_| size_class.is_none());
    let sized = body.cpu.or(body.memory).or(body.disk).is_some();
    if sized && (snapshot.is_some() || size_class.is_some()) {
        let message = "cpu, memory and disk come with the snapshot: leave them out, or leave the snapshot out";
        return Err(ApiError::bad_request(message));
    }
    Ok(NewSandbox {
        organization,
        name: body.name,
        snapshot,
        target: body.target,
        user: body.user,
        env,
        labels,
        public: body.public.unwrap_or(false),
        network: NetworkSettings {
            block_all: body.network_block_all == Some(true),
            allow_list: allow_list(body.network_allow_list.as_deref().unwrap_or_default())?,
            domains: domains(body.domain_allow_list.as_deref().unwrap_or_default())?,
        },
        cpu: size("cpu", "virtual CPUs", body.cpu, limits.cpu)?.or(size_class.map(|class| class.cpu)),
        memory: size("memory", "GiB", body.memory, limits.memory)?.or(size_class.map(|class| class.memory)),
        disk: size("disk", "GiB", body.disk, limits.disk)?.or(size_class.map(|class| class.disk)),
        auto_stop_interval: minutes("autoStopInterval", body.auto_stop_interval)?.unwrap_or(AUTO_STOP),
        auto_archive_interval: minutes("autoArchiveInterval", body.auto_archive_interval)?.unwrap_or(AUTO_ARCHIVE),
        auto_delete_interval: auto_delete(body.auto_delete_interval)?,
        ttl_minutes: minutes("ttlMinutes", body.ttl_minutes)?.unwrap_or(0),
        linked_to: reference("linkedSandbox", body.linked_sandbox)?,
    })
}

/// The default snapshot in a size that Daytona has a name for; on a smaller host it is as large as the host.
pub(crate) fn size_class(snapshot: &str, limits: Resources) -> Option<Resources> {
    let (cpu, memory, disk) = match snapshot {
        "daytona-small" => (1, 1, 3),
        "daytona-medium" => (2, 4, 8),
        "daytona-large" => (4, 8, 10),
        _ => return None,
    };
    let class = Resources { cpu: limits.cpu.min(cpu), memory: limits.memory.min(memory), disk: limits.disk.min(disk) };
    Some(class)
}

/// Letters, digits, `.`, `_` and `-`, the first a letter or digit.
fn name(name: &str) -> Checked {
    let start = name.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    let letters = name.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-'));
    if name.parse::<Uuid>().is_ok() {
        // Else it would be found in the place of the sandbox that has the id.
        return Err(ApiError::bad_request("name is not valid: it looks like the id of a sandbox"));
    }
    if start && letters && name.len() <= NAME {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "name is not valid: give 1 to {NAME} letters (a-z, A-Z), digits, '.', '_' or '-', the first a letter or digit"
    )))
}

fn word(text: &str, field: &str, longest: usize) -> Checked {
    let letters = text.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-'));
    if letters && !text.is_empty() && text.len() <= longest {
        return Ok(());
    }
    let message = format!("{field} is not valid: give 1 to {longest} letters (a-z, A-Z), digits, '.', '_' or '-'");
    Err(ApiError::bad_request(message))
}

/// The id or name of something else; empty is none.
fn reference(field: &str, text: Option<String>) -> Checked<Option<String>> {
    match text.filter(|text| !text.is_empty()) {
        // PostgreSQL takes none in a text, and nothing is called so.
        Some(text) if text.contains('\0') => {
            Err(ApiError::bad_request(format!("{field} is not valid: it holds a zero byte")))
        }
        other => Ok(other),
    }
}

fn environment(env: &BTreeMap<String, String>) -> Checked {
    for (name, value) in env {
        let start = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
        if !start || !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            let message = "is not the name of a variable: give letters, digits and '_', the first not a digit";
            return Err(ApiError::bad_request(format!("env: {name:?} {message}")));
        }
        if value.contains('\0') || name.len() + 1 + value.len() > VARIABLE {
            let message = format!("env: the value of {name} holds a zero byte or is longer than {VARIABLE} bytes");
            return Err(ApiError::bad_request(message));
        }
    }
    let all: usize = env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if all > ENVIRONMENT {
        return Err(ApiError::bad_request(format!("env is too large: {all} bytes, of {ENVIRONMENT} at most")));
    }
    Ok(())
}

/// Text, and a language that the SDKs know.
pub(crate) fn labels(labels: &BTreeMap<String, String>) -> Checked {
    let fits = |text: &str| text.len() <= LABEL && !text.contains('\0');
    if labels.len() > LABELS || !labels.iter().all(|(name, value)| !name.is_empty() && fits(name) && fits(value)) {
        let message = format!("labels are not valid: give at most {LABELS}, of 1 to {LABEL} bytes each");
        return Err(ApiError::bad_request(message));
    }
    match labels.get(LANGUAGE) {
        Some(language) if !LANGUAGES.contains(&language.as_str()) => {
            let message = format!("labels: {LANGUAGE} is {language:?}: give one of {}", LANGUAGES.join(", "));
            Err(ApiError::bad_request(message))
        }
        _ => Ok(()),
    }
}

/// Ranges of an allow list at most.
const RANGES: usize = 10;
/// Names of an allow list at most, as Daytona's documentation says.
const DOMAINS: usize = 100;

/// Comma-separated words. No text is no list; a list without a word would be taken for none, and open what it was to close.
fn entries<'t>(field: &str, text: &'t str) -> Checked<Vec<&'t str>> {
    let entries: Vec<&str> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    if entries.is_empty() && !text.is_empty() {
        let message = "names nothing: leave it out to allow all, or set networkBlockAll to allow nothing";
        return Err(ApiError::bad_request(format!("{field} {text:?} {message}")));
    }
    Ok(entries)
}

/// Comma-separated IPv4 ranges such as `192.0.2.0/24`; a plain address is a range of one.
pub(crate) fn allow_list(text: &str) -> Checked<Vec<Ipv4Net>> {
    let ranges = entries("networkAllowList", text)?;
    if ranges.len() > RANGES {
        let message = format!("networkAllowList has {} ranges: give at most {RANGES}", ranges.len());
        return Err(ApiError::bad_request(message));
    }
    ranges.into_iter().map(range).collect()
}

fn range(text: &str) -> Checked<Ipv4Net> {
    let range = text.parse().or_else(|_| text.parse::<Ipv4Addr>().map(Ipv4Net::from));
    let wrong = |_| ApiError::bad_request(format!("networkAllowList: {text:?} is no IPv4 range such as 192.0.2.0/24"));
    range.map(|range: Ipv4Net| range.trunc()).map_err(wrong)
}

/// Comma-separated names such as `example.com` or `*.example.com`; one that is given twice counts once.
pub(crate) fn domains(text: &str) -> Checked<Vec<DomainPattern>> {
    let given = entries("domainAllowList", text)?;
    if given.len() > DOMAINS {
        let message = format!("domainAllowList has {} names: give at most {DOMAINS}", given.len());
        return Err(ApiError::bad_request(message));
    }
    let mut domains = Vec::new();
    for text in given {
        let domain = text.parse().map_err(|why| ApiError::bad_request(format!("domainAllowList: {text:?} {why}")))?;
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    Ok(domains)
}

fn size(field: &str, unit: &str, value: Option<i64>, limit: u32) -> Checked<Option<u32>> {
    let Some(value) = value else { return Ok(None) };
    match u32::try_from(value) {
        Ok(value) if (1..=limit).contains(&value) => Ok(Some(value)),
        _ => Err(ApiError::bad_request(format!("{field} is {value}: give 1 to {limit} {unit}"))),
    }
}

/// CPUs, memory and disk, of which at least one is given.
pub(crate) fn sizes(body: &ResizeSandbox, limits: Resources) -> Checked<[Option<u32>; 3]> {
    let sizes = [
        size("cpu", "CPUs", body.cpu, limits.cpu)?,
        size("memory", "GiB", body.memory, limits.memory)?,
        size("disk", "GiB", body.disk, limits.disk)?,
    ];
    if sizes == [None; 3] {
        return Err(ApiError::bad_request("nothing to resize: give cpu, memory or disk"));
    }
    Ok(sizes)
}

fn minutes(field: &str, value: Option<i64>) -> Checked<Option<u32>> {
    let Some(value) = value else { return Ok(None) };
    let fits = u32::try_from(value).ok().filter(|minutes| i32::try_from(*minutes).is_ok());
    let wrong = || ApiError::bad_request(format!("{field} is {value}: give 0 or more minutes"));
    fits.map(Some).ok_or_else(wrong)
}

fn auto_delete(value: Option<i64>) -> Checked<i32> {
    let value = value.unwrap_or(-1);
    let wrong = |_| ApiError::bad_request(format!("autoDeleteInterval is {value}: give minutes, or -1 for never"));
    i32::try_from(value).map_err(wrong)
}

/// Refuses what would have an effect that this version can't give. Empty and false values are fine.
fn available(body: &CreateSandbox) -> Checked {
    let text = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty());
    let flag = |field: Option<bool>| field == Some(true);
    let number = |field: Option<i64>| field.is_some_and(|number| number != 0);
    let gpu_type = match &body.gpu_type {
        None => false,
        Some(GpuPreference::One(one)) => !one.is_empty(),
        Some(GpuPreference::Several(several)) => !several.is_empty(),
    };
    let lacking = [
        (body.volumes.as_ref().is_some_and(|volumes| !volumes.is_empty()), "volumes"),
        (body.secrets.as_ref().is_some_and(|secrets| !secrets.is_empty()), "secrets"),
        (number(body.gpu) || gpu_type || flag(body.spot), "gpu"),
        (body.build_info.is_some(), "buildInfo (building images; create from a snapshot instead)"),
        (text(&body.outbound_proxy_url), "outboundProxyUrl"),
        (text(&body.otel_endpoint_override), "otelEndpointOverride"),
        (flag(body.kvm), "kvm"),
        (number(body.auto_pause_interval), "autoPauseInterval (sandboxes of this class can't be paused)"),
    ];
    match lacking.into_iter().find(|(given, _)| *given) {
        Some((_, field)) => Err(ApiError::unavailable(field)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(body: serde_json::Value) -> Result<NewSandbox, String> {
        let body = serde_json::from_value(body).expect("a body");
        let limits = Resources { cpu: 2, memory: 4, disk: 10 };
        new_sandbox(body, OrganizationId::generate(), limits).map_err(|error| error.message)
    }

    #[test]
    fn fills_in_defaults() {
        let new = check(json!({"env":{},"labels":{"code-toolbox-language":"python"},"target":"us","volumes":[]}));
        let new = new.expect("what the SDK sends");
        assert_eq!(new.target.as_deref(), Some("us"));
        assert_eq!((new.auto_stop_interval, new.auto_archive_interval, new.auto_delete_interval), (15, 10080, -1));
        assert_eq!((new.cpu, new.public, new.ttl_minutes), (None, false, 0));
    }

    #[test]
    fn refuses_what_can_not_be_meant() {
        for body in [
            json!({"name": ""}),
            json!({"name": "a b"}),
            json!({"name": "-a"}),
            json!({"name": "../etc"}),
            json!({"name": "0199c0de-0000-7000-8000-000000000000"}),
            json!({"name": "0199C0DE-0000-7000-8000-00000000000A"}),
            json!({"name": "0199c0de000070008000000000000000"}),
            json!({"domainAllowList": ","}),
            json!({"domainAllowList": " "}),
            json!({"networkAllowList": " , "}),
            json!({"name": "a".repeat(129)}),
            json!({"user": "a b"}),
            json!({"cpu": 0}),
            json!({"cpu": 3}),
            json!({"memory": -1}),
            json!({"disk": 1_000_000_000_000_i64}),
            json!({"snapshot": "x", "cpu": 1}),
            json!({"snapshot": "\0"}),
            json!({"linkedSandbox": "a\0"}),
            json!({"autoStopInterval": -1}),
            json!({"autoArchiveInterval": -1}),
            json!({"ttlMinutes": -1}),
            json!({"autoDeleteInterval": 99_999_999_999_i64}),
            json!({"env": {"1A": "x"}}),
            json!({"env": {"A B": "x"}}),
            json!({"env": {"": "x"}}),
            json!({"labels": {"code-toolbox-language": "cobol"}}),
            json!({"labels": {"": "x"}}),
            json!({"networkAllowList": "10.0.0.0/33"}),
            json!({"networkAllowList": "example.com"}),
            json!({"networkAllowList": "fd00::/8"}),
            json!({"networkAllowList": "1.1.1.1,".repeat(11)}),
            json!({"domainAllowList": "https://example.com"}),
            json!({"domainAllowList": "example.com,192.0.2.1"}),
            json!({"domainAllowList": "*"}),
            json!({"domainAllowList": "a.b,".repeat(101)}),
        ] {
            assert!(check(body.clone()).is_err(), "{body}");
        }
    }

    #[test]
    fn size_classes_are_the_default_snapshot() {
        for (name, sizes) in
            [("daytona-small", (1, 1, 3)), ("daytona-medium", (2, 4, 8)), ("daytona-large", (2, 4, 10))]
        {
            let new = check(json!({"snapshot": name})).expect("known");
            assert_eq!(new.snapshot, None);
            assert_eq!((new.cpu, new.memory, new.disk), (Some(sizes.0), Some(sizes.1), Some(sizes.2)), "{name}");
        }
        assert!(check(json!({"snapshot": "daytona-small", "cpu": 1})).is_err());
        assert_eq!(check(json!({"class": "medium"})).expect("known").memory, Some(4));
        assert_eq!(check(json!({"class": "small", "snapshot": "x"})).expect("the snapshot's").memory, None);
        assert!(check(json!({"class": "tiny"})).is_err());
    }

    #[test]
    fn reads_allow_lists() {
        let new = check(json!({"networkAllowList": " 10.1.2.3/8, 192.0.2.1,"})).expect("two ranges");
        let ranges: Vec<String> = new.network.allow_list.iter().map(ToString::to_string).collect();
        assert_eq!(ranges, ["10.0.0.0/8", "192.0.2.1/32"]);
        let closed = check(json!({"networkBlockAll": true, "networkAllowList": "10.0.0.0/8"})).expect("both");
        assert_eq!(closed.network.egress(), sebring_types::runner::Egress::Closed);
    }

    #[test]
    fn reads_domain_lists() {
        let given = json!({"domainAllowList": " Example.com, *.daytona.io,example.com,"});
        let new = check(given).expect("two names");
        let domains: Vec<String> = new.network.domains.iter().map(ToString::to_string).collect();
        assert_eq!(domains, ["example.com", "*.daytona.io"]);
        let message = check(json!({"domainAllowList": "example.com:443"})).expect_err("a port");
        assert_eq!(
            message,
            "domainAllowList: \"example.com:443\" is more than a name: leave out protocol, port and path"
        );
    }

    #[test]
    fn refuses_what_is_lacking_and_takes_it_when_it_has_no_effect() {
        for body in [
            json!({"volumes": [{"volumeId": "v", "mountPath": "/v"}]}),
            json!({"secrets": [{"A": "b"}]}),
            json!({"gpu": 1}),
            json!({"gpuType": ["H100"]}),
            json!({"gpuType": "H100"}),
            json!({"buildInfo": {"dockerfileContent": "FROM x\n"}}),
            json!({"kvm": true}),
            json!({"autoPauseInterval": 5}),
        ] {
            let message = check(body.clone()).expect_err("lacking");
            assert!(message.ends_with("not available in this version yet"), "{body}: {message}");
        }
        let harmless = json!({"volumes": [], "secrets": [], "gpu": 0, "gpuType": [], "networkBlockAll": false,
            "networkAllowList": "", "kvm": false, "autoPauseInterval": 0, "linkedSandbox": "", "snapshot": ""});
        assert!(check(harmless).is_ok());
    }
}
