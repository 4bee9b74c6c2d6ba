//! The agent's OpenAPI document. It exists in tests only, so that the agent carries nothing of it.
//!
//! Operations come from the router ([`routes`]), bodies from the types that handlers parse and write; only what
//! belongs to what stands in a table of its own ([`table`]), and an operation that is missing there fails a test. The
//! document is `docs/toolbox-openapi.json`, and is compared with the contract's table ([`sebring_contract`]).

pub mod chart;
mod routes;
mod table;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::http::queries;

/// Where the document lies, from this crate's directory.
const DOCUMENT: &str = "../../docs/toolbox-openapi.json";
/// Parameters of a signed URL, which the proxy takes off.
const SIGNATURE: [&str; 2] = ["expires", "signature"];
/// Set, the document is written instead of compared.
const WRITE: &str = "SEBRING_WRITE_DOCUMENTS";

/// One operation, while it is described.
struct Operation {
    method: &'static str,
    path: &'static str,
    queries: Vec<Value>,
    request: Option<Value>,
    responses: BTreeMap<u16, Value>,
    schemas: Vec<(String, Value)>,
}

impl Operation {
    fn new(method: &'static str, path: &'static str) -> Self {
        let (queries, schemas) = (Vec::new(), Vec::new());
        Self { method, path, queries, request: None, responses: BTreeMap::new(), schemas }
    }

    fn query(mut self, name: &str, required: bool) -> Self {
        self.queries.push(json!({ "name": name, "in": "query", "required": required, "schema": { "type": "string" } }));
        self
    }

    /// Queries that must be there.
    fn needs(self, names: &[&str]) -> Self {
        names.iter().fold(self, |operation, name| operation.query(name, true))
    }

    /// Queries that may be there.
    fn knows(self, names: &[&str]) -> Self {
        names.iter().fold(self, |operation, name| operation.query(name, false))
    }

    fn takes<T: ToSchema>(mut self) -> Self {
        let schema = self.schema::<T>();
        self.request = Some(json!({ "required": true, "content": { "application/json": { "schema": schema } } }));
        self
    }

    /// A form with files.
    fn takes_form(mut self, fields: Value) -> Self {
        let schema = json!({ "type": "object", "properties": fields });
        self.request = Some(json!({ "required": true, "content": { "multipart/form-data": { "schema": schema } } }));
        self
    }

    fn gives<T: ToSchema>(mut self, status: u16) -> Self {
        let schema = self.schema::<T>();
        self.answer(status, json!({ "application/json": { "schema": schema } }))
    }

    fn gives_list<T: ToSchema>(mut self) -> Self {
        let schema = json!({ "type": "array", "items": self.schema::<T>() });
        self.answer(200, json!({ "application/json": { "schema": schema } }))
    }

    fn gives_nothing(self, status: u16) -> Self {
        self.answer(status, Value::Null)
    }

    fn gives_media(self, media: &str) -> Self {
        self.answer(200, json!({ media: { "schema": { "type": "string", "format": "binary" } } }))
    }

    fn upgrades(self) -> Self {
        self.answer(101, Value::Null)
    }

    fn answer(mut self, status: u16, content: Value) -> Self {
        let description = http::StatusCode::from_u16(status).expect("a status").canonical_reason();
        let mut response = json!({ "description": description });
        if !content.is_null() {
            response["content"] = content;
        }
        self.responses.insert(status, response);
        self
    }

    fn schema<T: ToSchema>(&mut self) -> Value {
        let mut found = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut found);
        let plain = |schema| serde_json::to_value(schema).expect("a schema is JSON");
        self.schemas.extend(found.into_iter().map(|(name, schema)| (name, plain(schema))));
        json!({ "$ref": format!("#/components/schemas/{}", T::name()) })
    }

    fn describe(mut self) -> Value {
        let names = self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        let parameter = |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
        let mut parameters: Vec<Value> = names.map(parameter).collect();
        parameters.append(&mut self.queries);
        let mut described = json!({ "tags": [self.path.split('/').nth(1)] });
        if !parameters.is_empty() {
            described["parameters"] = parameters.into();
        }
        if let Some(request) = self.request {
            described["requestBody"] = request;
        }
        let failure = json!({ "$ref": "#/components/responses/Failure" });
        let responses = self.responses.into_iter().map(|(status, response)| (status.to_string(), response));
        described["responses"] = responses.chain([("default".to_owned(), failure)]).collect();
        described
    }
}

fn document() -> Value {
    let (mut paths, mut schemas) = (json!({}), json!({}));
    for operation in table::operations() {
        for (name, schema) in &operation.schemas {
            let known = schemas.get(name).is_none_or(|known| known == schema);
            assert!(known, "two types are called {name}");
            schemas[name] = schema.clone();
        }
        // What answers whatever follows cannot be told in OpenAPI.
        if operation.method == "*" {
            continue;
        }
        let (path, method) = (operation.path, operation.method.to_lowercase());
        assert!(paths[path].get(&method).is_none(), "{method} {path} is listed twice");
        paths[path][method] = operation.describe();
    }
    let failure = json!({ "schema": { "$ref": "#/components/schemas/ErrorResponse" } });
    let failure = json!({ "description": "Failure", "content": { "application/json": failure } });
    let title = "Toolbox of a Sebring sandbox";
    json!({
        "openapi": "3.1.0",
        "info": { "title": title, "version": env!("CARGO_PKG_VERSION"), "license": { "name": "Apache-2.0" } },
        "paths": paths,
        "components": { "schemas": schemas, "responses": { "Failure": failure } },
    })
}

#[test]
fn every_route_is_described() {
    let described = table::operations().into_iter().map(|operation| format!("{} {}", operation.method, operation.path));
    assert_eq!(described.collect::<std::collections::BTreeSet<_>>(), routes::operations());
}

#[test]
fn every_query_is_known_to_its_route() {
    for operation in table::operations() {
        let method = operation.method.parse().expect("a method");
        let segments: Vec<&str> = operation.path.trim_matches('/').split('/').collect();
        let Some(known) = queries::known(&method, &segments) else { continue };
        let mut described: Vec<_> = operation.queries.iter().filter_map(|query| query["name"].as_str()).collect();
        let mut known: Vec<_> = known.iter().copied().filter(|name| !SIGNATURE.contains(name)).collect();
        described.sort_unstable();
        known.sort_unstable();
        assert_eq!(described, known, "{} {}", operation.method, operation.path);
    }
}

#[test]
fn the_written_document_is_the_present_one() {
    let present = document();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(DOCUMENT, format!("{present:#}\n")).expect("written");
    }
    let written = std::fs::read_to_string(DOCUMENT).expect("the document");
    // Not their texts: in what order members are written depends on who else is built along.
    let written: Value = serde_json::from_str(&written).expect("JSON");
    assert!(written == present, "docs/toolbox-openapi.json is out of date: run this test with {WRITE}=1");
}

#[test]
fn the_document_is_the_contracts() {
    sebring_contract::check(sebring_contract::Contract::Toolbox, &document());
}
