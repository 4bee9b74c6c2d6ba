//! Our OpenAPI document against that of the contract, operation by operation and field by field.
//!
//! `SEBRING_CONTRACT_OPENAPI` names a file with the contract's document; without it there is nothing to compare with.

use std::collections::BTreeSet;
use std::env;

use serde_json::Value;

const CONTRACT: &str = "SEBRING_CONTRACT_OPENAPI";

/// Schemas of both, by name.
const ANSWERS: [&str; 11] = [
    "Sandbox",
    "SandboxListItem",
    "ListSandboxesResponse",
    "SandboxLabels",
    "ToolboxProxyUrl",
    "SnapshotDto",
    "PaginatedSnapshots",
    "DaytonaConfiguration",
    "OidcConfig",
    "ApiKeyList",
    "Runner",
];

/// Optional fields of answers that have no value yet, and why.
const WITHOUT_VALUE: [(&str, &[&str]); 11] = [
    ("one runner, which has no id of its own", &["runnerId", "initialRunnerId"]),
    ("the one runner is part of the server, which has no address for it", &["domain", "apiUrl", "proxyUrl"]),
    (
        "a runner has nothing to be chosen by as long as there is one",
        &["availabilityScore", "currentCpuUsagePercentage"],
    ),
    ("classes of runners are a thing of the past", &["class"]),
    ("the agent is part of the server", &["daemonVersion"]),
    ("network rules come later", &["networkAllowList", "outboundProxyUrl"]),
    ("no GPUs, so no spot sandboxes and no queue", &["gpuType", "spotEvictedAt", "queueTimedOutAt", "queueTimeout"]),
    ("images are not built yet", &["buildInfo", "imageName", "ref", "regionIds"]),
    ("no backups, no warm pools, no telemetry yet", &["backupCreatedAt", "warmPoolId", "otelEndpointOverride"]),
    (
        "services that this server does not have",
        &[
            "posthog",
            "ssoOidc",
            "forcedFeatureFlags",
            "pylonAppId",
            "billingApiUrl",
            "analyticsApiUrl",
            "stripePublishableKey",
            "rateLimit",
            "buildSha",
            "authApiHostname",
            "cli",
        ],
    ),
    (
        "no SSH gateway yet",
        &[
            "sshGatewayCommand",
            "sshGatewayPublicKey",
            "sshGatewayHost",
            "sshGatewayPort",
            "sshGatewayHostKeys",
            "sshGatewayHostKeyFingerprints",
        ],
    ),
];

/// Operations beyond the contract, each described in `docs/`.
const OF_OUR_OWN: [&str; 1] = ["GET /sandbox/{}/network-log"];
/// Operations that the contract had, and that clients which are served still ask for.
const FORMER: [&str; 1] = ["GET /sandbox/paginated"];

struct Document(Value);

impl Document {
    /// `METHOD /path`, with every parameter called `{}`.
    fn operations(&self) -> BTreeSet<String> {
        let paths = self.0["paths"].as_object().expect("paths");
        let nameless = |path: &str| {
            let segment = |segment: &str| if segment.starts_with('{') { "{}".to_owned() } else { segment.to_owned() };
            path.split('/').map(segment).collect::<Vec<_>>().join("/")
        };
        let methods = |item: &Value| item.as_object().expect("an item").keys().cloned().collect::<Vec<_>>();
        let all = paths.iter().flat_map(|(path, item)| {
            methods(item).into_iter().map(move |method| format!("{} {}", method.to_uppercase(), nameless(path)))
        });
        all.collect()
    }

    fn schema(&self, name: &str) -> &Value {
        let schema = &self.0["components"]["schemas"][name];
        assert!(schema.is_object(), "no schema {name}");
        schema
    }

    fn fields(&self, schema: &str) -> BTreeSet<String> {
        self.schema(schema)["properties"].as_object().expect("fields").keys().cloned().collect()
    }

    fn required(&self, schema: &str) -> BTreeSet<String> {
        let names = self.schema(schema)["required"].as_array().into_iter().flatten();
        names.map(|name| name.as_str().expect("a name").to_owned()).collect()
    }

    fn queries(&self, path: &str) -> BTreeSet<String> {
        let parameters = self.0["paths"][path]["get"]["parameters"].as_array().expect("parameters");
        let queries = parameters.iter().filter(|parameter| parameter["in"] == "query");
        queries.map(|parameter| parameter["name"].as_str().expect("a name").to_owned()).collect()
    }
}

fn documents() -> Option<(Document, Document)> {
    let Ok(file) = env::var(CONTRACT) else {
        eprintln!("not compared: {CONTRACT} is not set");
        return None;
    };
    let text = std::fs::read_to_string(file).expect("the contract's document");
    let ours = serde_json::to_value(sebring_api::openapi("0")).expect("JSON");
    Some((Document(ours), Document(serde_json::from_str(&text).expect("JSON"))))
}

fn missing<'a>(from: &'a BTreeSet<String>, of: &'a BTreeSet<String>) -> Vec<&'a String> {
    of.difference(from).collect()
}

#[test]
fn operations_are_the_contracts() {
    let Some((ours, theirs)) = documents() else { return };
    let mut known = theirs.operations();
    known.extend(FORMER.map(str::to_owned));
    let ours_alone: Vec<String> = missing(&known, &ours.operations()).into_iter().cloned().collect();
    assert_eq!(ours_alone, OF_OUR_OWN, "ours alone");
}

#[test]
fn answers_have_every_field() {
    let Some((ours, theirs)) = documents() else { return };
    let without: BTreeSet<String> =
        WITHOUT_VALUE.iter().flat_map(|(_, fields)| fields.iter()).map(|field| (*field).to_owned()).collect();
    for schema in ANSWERS {
        let none = Vec::<&String>::new();
        assert_eq!(missing(&ours.required(schema), &theirs.required(schema)), none, "{schema} must always have");
        assert_eq!(missing(&theirs.fields(schema), &ours.fields(schema)), none, "{schema} has of its own");
        let known = ours.fields(schema).union(&without).cloned().collect();
        assert_eq!(missing(&known, &theirs.fields(schema)), none, "{schema} lacks without a reason");
    }
}

#[test]
fn sizes_are_integers() {
    let Some((ours, _)) = documents() else { return };
    for schema in ["Sandbox", "SandboxListItem"] {
        for field in ["cpu", "gpu", "memory", "disk"] {
            assert_eq!(ours.schema(schema)["properties"][field]["type"], "integer", "{schema}.{field}");
        }
    }
}

#[test]
fn requests_take_every_field() {
    let Some((ours, theirs)) = documents() else { return };
    for schema in ["CreateSandbox", "SandboxLabels"] {
        assert_eq!(ours.fields(schema), theirs.fields(schema), "{schema}");
    }
    // Lists up to 0.176 were asked for by that, too.
    for (path, former) in [("/sandbox", &["verbose"][..]), ("/snapshots", &[])] {
        let mut known = theirs.queries(path);
        known.extend(former.iter().map(|name| (*name).to_owned()));
        assert_eq!(ours.queries(path), known, "GET {path}");
    }
}
