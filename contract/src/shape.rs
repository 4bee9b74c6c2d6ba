//! What an OpenAPI document says of its operations, in words that don't depend on how schemas are named and cut.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A part of an operation: `query`, `body`, or the status of an answer.
pub(crate) type Part = String;

/// Stands for the part itself: its presence, and the type of its root.
pub(crate) const ROOT: &str = ".";
/// The name of all fields of an object that may have any.
pub(crate) const ANY: &str = "*";

/// A field of a request or an answer, or a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// As in JSON schema; `any` when the document says nothing.
    pub(crate) kind: String,
    /// In a request: it must be sent. In an answer: it is always there.
    pub(crate) required: bool,
}

/// Each field with its path, such as `contexts[].id`.
pub(crate) type Shape = BTreeMap<(Part, String), Field>;

/// The operations of a document, by `METHOD /path` with every parameter called `{}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operations(pub(crate) BTreeMap<String, Shape>);

impl Operations {
    /// Reads an OpenAPI document, 3.0 or 3.1.
    pub fn of(document: &Value) -> Self {
        let mut operations = BTreeMap::new();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let name = format!("{} {}", method.to_uppercase(), nameless(path));
                let reader = Reader { document, shape: Shape::new(), open: Vec::new() };
                operations.insert(name, reader.read(operation));
            }
        }
        Self(operations)
    }
}

struct Reader<'a> {
    document: &'a Value,
    shape: Shape,
    /// The schemas that the present field is part of: one that holds itself is told once.
    open: Vec<String>,
}

impl Reader<'_> {
    fn read(mut self, operation: &Value) -> Shape {
        for query in list(&operation["parameters"]).filter(|one| one["in"] == "query") {
            let kind = self.kind(&query["schema"]);
            self.add("query", query["name"].as_str().unwrap_or_default(), kind, query["required"] == true);
        }
        if operation["requestBody"].is_object() {
            self.body("body", &operation["requestBody"], operation["requestBody"]["required"] == true);
        }
        for (status, response) in operation["responses"].as_object().into_iter().flatten() {
            if status.starts_with(['1', '2']) {
                self.body(status, response, true);
            }
        }
        self.shape
    }

    fn add(&mut self, part: &str, path: &str, kind: String, required: bool) {
        self.shape.insert((part.to_owned(), path.to_owned()), Field { kind, required });
    }

    /// The first media type.
    fn body(&mut self, part: &str, body: &Value, required: bool) {
        // What follows an upgrade is no body.
        let content = body["content"].as_object().filter(|_| !part.starts_with('1'));
        let media = content.and_then(|content| content.values().next()).unwrap_or(&Value::Null);
        let kind = self.kind(&media["schema"]);
        self.add(part, ROOT, kind, required);
        self.fields(part, "", &media["schema"]);
    }

    fn fields(&mut self, part: &str, at: &str, schema: &Value) {
        let Some(name) = schema["$ref"].as_str() else { return self.fields_of(part, at, schema) };
        if !self.open.iter().any(|open| open == name) {
            self.open.push(name.to_owned());
            let schema = self.resolve(schema).clone();
            self.fields_of(part, at, &schema);
            self.open.pop();
        }
    }

    fn fields_of(&mut self, part: &str, at: &str, schema: &Value) {
        for alternative in alternatives(schema) {
            self.fields(part, at, alternative);
        }
        let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
        if of_schema(schema) == Some("array") {
            self.fields(part, &format!("{at}[]"), &schema["items"]);
        }
        if schema["additionalProperties"].is_object() {
            let kind = self.kind(&schema["additionalProperties"]);
            self.add(part, &below(ANY), kind, false);
        }
        let required: BTreeSet<_> = list(&schema["required"]).filter_map(Value::as_str).collect();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let kind = self.kind(field);
            self.add(part, &below(name), kind, required.contains(name.as_str()));
            self.fields(part, &below(name), field);
        }
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/components/schemas/")) {
            Some(name) => &self.document["components"]["schemas"][name],
            None => schema,
        }
    }

    /// Of one that may also be null, or that is another schema, what it is else.
    fn kind(&self, schema: &Value) -> String {
        let schema = self.resolve(schema);
        let parts = alternatives(schema).map(|part| of_schema(self.resolve(part)));
        let kind = std::iter::once(of_schema(schema)).chain(parts).flatten().next();
        kind.unwrap_or("any").to_owned()
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    ["allOf", "oneOf", "anyOf"].into_iter().flat_map(|key| list(&schema[key]))
}

fn of_schema(schema: &Value) -> Option<&str> {
    let one = schema["type"].as_str();
    let mut kinds = one.into_iter().chain(list(&schema["type"]).filter_map(Value::as_str));
    kinds.find(|kind| *kind != "null")
}

fn nameless(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}
