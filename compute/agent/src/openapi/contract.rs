//! The agent's document against that of the contract, operation by operation and field by field.
//!
//! `SEBRING_CONTRACT_TOOLBOX` names a file with the contract's document; without it there is nothing to compare with.

use std::collections::{BTreeMap, BTreeSet};
use std::env;

use serde_json::Value;

use super::document;

const CONTRACT: &str = "SEBRING_CONTRACT_TOOLBOX";

/// The contract's operations that the agent does not have, by the beginning of their paths, and why.
const MISSING: [(&str, &str); 1] = [("/computeruse", "snapshots have no desktop yet: all of it answers 503")];

/// Operations that only the agent has, and why.
const OWN: [(&str, &str); 3] = [
    ("GET /process/pty/create-connect", "the SDKs call it, but the contract's document leaves it out"),
    ("POST /files/upload", "the older name of upload-v2, which clients of 0.190 use"),
    ("GET /files/watch", "an extension: docs/toolbox-extensions.md"),
];

/// What else differs, by the beginning of how it is told, and why.
const DIFFERENT: [(&str, &str); 3] = [
    ("POST /files/bulk-upload: request has files[0].", "the contract's text describes the form, its document does not"),
    ("POST /init: request lacks token", "the agent has no use for one: only its runner reaches it"),
    ("POST /process/session/{}/exec: 202 lacks ", "a command that has just been started has no outcome"),
];
/// The name of all fields of an object that may have any.
const ANY: &str = "*";

struct Document(Value);

/// An operation in words that do not depend on how schemas are named and cut.
#[derive(Debug, Default)]
struct Shape {
    /// Whether each query must be there.
    queries: BTreeMap<String, bool>,
    request: Fields,
    /// By status, of successes only.
    answers: BTreeMap<String, Fields>,
}

/// Every field of a body with its path (`contexts[].id`): its type, and whether it is always there.
type Fields = BTreeMap<String, (String, bool)>;

impl Document {
    fn operations(&self) -> BTreeMap<String, Shape> {
        let paths = self.0["paths"].as_object().expect("paths").iter();
        let wanted = paths.filter(|(path, _)| !MISSING.iter().any(|(start, _)| path.starts_with(start)));
        let all = wanted.flat_map(|(path, item)| {
            let methods = item.as_object().expect("methods").iter();
            methods.map(|(method, operation)| {
                (format!("{} {}", method.to_uppercase(), nameless(path)), self.shape(operation))
            })
        });
        all.collect()
    }

    fn shape(&self, operation: &Value) -> Shape {
        let mut shape = Shape::default();
        for query in operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "query") {
            let name = query["name"].as_str().expect("a name").to_owned();
            shape.queries.insert(name, query["required"] == true);
        }
        shape.request = self.body(&operation["requestBody"]);
        for (status, response) in operation["responses"].as_object().into_iter().flatten() {
            if status.starts_with(['1', '2']) {
                shape.answers.insert(status.clone(), self.body(response));
            }
        }
        shape
    }

    /// The first media type that has fields; bytes have none.
    fn body(&self, body: &Value) -> Fields {
        let mut fields = Fields::new();
        if let Some(media) = body["content"].as_object().and_then(|content| content.values().next()) {
            self.fields(&media["schema"], "", &mut fields);
        }
        fields
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/components/schemas/")) {
            Some(name) => &self.0["components"]["schemas"][name],
            None => schema,
        }
    }

    fn fields(&self, schema: &Value, at: &str, into: &mut Fields) {
        let schema = self.resolve(schema);
        for key in ["allOf", "oneOf", "anyOf"] {
            schema[key].as_array().into_iter().flatten().for_each(|part| self.fields(part, at, into));
        }
        if kind(schema) == "array" {
            self.fields(&schema["items"], &format!("{at}[]"), into);
        }
        if schema["additionalProperties"].is_object() && at.is_empty() {
            into.insert(ANY.to_owned(), (String::new(), false));
        }
        let required: BTreeSet<_> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            into.insert(path.clone(), (self.kind_of_field(field), required.contains(name.as_str())));
            self.fields(field, &path, into);
        }
    }

    /// Of one that may also be null, or that is another schema, what it is else.
    fn kind_of_field(&self, field: &Value) -> String {
        let field = self.resolve(field);
        let parts = ["allOf", "oneOf", "anyOf"].into_iter().flat_map(|key| field[key].as_array().into_iter().flatten());
        let mut kinds = std::iter::once(kind(field)).chain(parts.map(|part| kind(self.resolve(part))));
        kinds.find(|kind| !matches!(*kind, "" | "null")).unwrap_or_default().to_owned()
    }
}

/// Parameters are called `{}`: both sides have their own names for them.
fn nameless(path: &str) -> String {
    let segment = |segment: &str| if segment.starts_with('{') { "{}".to_owned() } else { segment.to_owned() };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// The operation of ours that answers one of theirs: the same, or one with a parameter where theirs has a word.
fn answering<'a>(ours: &'a BTreeMap<String, Shape>, operation: &str) -> Option<&'a Shape> {
    let answers = |own: &str| {
        let (own, theirs): (Vec<_>, Vec<_>) = (own.split('/').collect(), operation.split('/').collect());
        own.len() == theirs.len() && own.iter().zip(&theirs).all(|(own, theirs)| own == theirs || *own == "{}")
    };
    ours.get(operation).or_else(|| ours.iter().find(|(own, _)| answers(own)).map(|(_, shape)| shape))
}

fn kind(schema: &Value) -> &str {
    let list = schema["type"].as_array().into_iter().flatten();
    let of_list = list.filter_map(Value::as_str).find(|kind| *kind != "null");
    schema["type"].as_str().or(of_list).unwrap_or_default()
}

fn documents() -> Option<(Document, Document)> {
    let Ok(file) = env::var(CONTRACT) else {
        eprintln!("not compared: {CONTRACT} is not set");
        return None;
    };
    let text = std::fs::read_to_string(file).expect("the contract's document");
    Some((Document(document()), Document(serde_json::from_str(&text).expect("JSON"))))
}

#[test]
fn operations_are_the_contracts() {
    let Some((ours, theirs)) = documents() else { return };
    let (ours, theirs) = (ours.operations(), theirs.operations());
    let missing: Vec<_> = theirs.keys().filter(|one| answering(&ours, one).is_none()).collect();
    assert!(missing.is_empty(), "the agent lacks {missing:?}");
    let own: BTreeSet<_> = ours.keys().filter(|one| !theirs.contains_key(*one)).map(String::as_str).collect();
    assert_eq!(own, OWN.iter().map(|(operation, _)| *operation).collect());
}

#[test]
fn fields_are_the_contracts() {
    let Some((ours, theirs)) = documents() else { return };
    let (ours, theirs) = (ours.operations(), theirs.operations());
    let (mut found, mut known) = (Vec::new(), BTreeSet::new());
    for (operation, theirs) in &theirs {
        let Some(ours) = answering(&ours, operation) else { continue };
        let mut tell = |what: String| {
            let line = format!("{operation}: {what}");
            match DIFFERENT.iter().find(|(start, _)| line.starts_with(start)) {
                Some((start, _)) => drop(known.insert(*start)),
                None => found.push(line),
            }
        };
        compare_queries(&ours.queries, &theirs.queries, &mut tell);
        compare_fields("request", &ours.request, &theirs.request, |ours, theirs| !ours || theirs, &mut tell);
        for (status, theirs) in &theirs.answers {
            match ours.answers.get(status) {
                Some(ours) => compare_fields(status, ours, theirs, |ours, theirs| ours || !theirs, &mut tell),
                None => tell(format!("never answers {status}")),
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(known.len(), DIFFERENT.len(), "of these differences some are no more");
}

fn compare_queries(ours: &BTreeMap<String, bool>, theirs: &BTreeMap<String, bool>, tell: &mut impl FnMut(String)) {
    for (name, required) in ours {
        match theirs.get(name) {
            None => tell(format!("query {name} is ours alone")),
            Some(false) if *required => tell(format!("query {name} must not be required")),
            Some(_) => {}
        }
    }
    theirs.keys().filter(|name| !ours.contains_key(*name)).for_each(|name| tell(format!("lacks query {name}")));
}

/// `allowed` decides on what must be there, here and in the contract: a request may ask for less, an answer must not
/// give less.
fn compare_fields(
    body: &str,
    ours: &Fields,
    theirs: &Fields,
    allowed: impl Fn(bool, bool) -> bool,
    tell: &mut impl FnMut(String),
) {
    for (name, (kind, required)) in theirs.iter().filter(|(name, _)| *name != ANY) {
        match ours.get(name) {
            None => tell(format!("{body} lacks {name}")),
            Some((our, _)) if our != kind => tell(format!("{body} has {name} as {our}, not as {kind}")),
            Some((_, our)) if !allowed(*our, *required) => tell(format!("{body} has {name} required: {our}")),
            Some(_) => {}
        }
    }
    let known = |name: &&String| theirs.contains_key(*name) || theirs.contains_key(ANY);
    ours.keys().filter(|name| !known(name)).for_each(|name| tell(format!("{body} has {name} alone")));
}
