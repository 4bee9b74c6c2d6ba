use serde_json::{Value, json};

use super::*;

fn document(answer: Value, request: Value, more: Value) -> Value {
    let body =
        |name: &str| json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{name}") } } });
    let mut document = json!({
        "paths": { "/box/{id}": { "put": {
            "parameters": [
                { "name": "id", "in": "path", "required": true, "schema": { "type": "string" } },
                { "name": "page", "in": "query", "schema": { "type": "integer" } },
            ],
            "requestBody": { "required": true, "content": body("Change") },
            "responses": { "200": { "content": body("Box") }, "404": {} },
        } } },
        "components": { "schemas": { "Box": answer, "Change": request } },
    });
    for (path, item) in more.as_object().expect("paths") {
        document["paths"][path] = item.clone();
    }
    document
}

fn object(fields: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": fields, "required": required })
}

fn theirs() -> Operations {
    let answer = json!({
        "id": { "type": "string" },
        "owner": { "type": ["string", "null"] },
        "parts": { "type": "array", "items": { "allOf": [{ "type": "object", "properties": { "size": { "type": "integer" } } }] } },
    });
    let request = json!({ "name": { "type": "string" }, "tags": { "type": "object", "additionalProperties": { "type": "string" } } });
    let gone = json!({ "/box": { "get": { "responses": { "200": {} } } } });
    Operations::of(&document(object(answer, &["id"]), object(request, &["name"]), gone))
}

/// Lacks an operation and a field, has one of each of its own, and one of another type.
fn ours() -> Value {
    let answer = json!({
        "id": { "type": "string" },
        "color": { "type": "string" },
        "parts": { "type": "array", "items": { "type": "object", "properties": { "size": { "type": "number" } } } },
    });
    let request = json!({ "name": { "type": "string" }, "tags": { "type": "object", "additionalProperties": { "type": "string" } } });
    let own = json!({ "/light": { "get": { "responses": { "200": {} } } } });
    document(object(answer, &["id", "parts"]), object(request, &[]), own)
}

const WRITTEN: &str = "
GET /box - nobody asks for it

GET /light + we sell lamps

PUT /box/{}
    query page integer may
    body  .      object  must
    body  name   string  must
    body  tags   object  may
    body  tags.* string  may
    200   .            object  must
    200   color        string  may  + boxes are painted
    200   id           string  must
    200   owner        string  may  - boxes belong to nobody
    200   parts        array   may
    200   parts[].size integer may  ~ number may: parts are cut
";

fn lines(table: &Table) -> Vec<String> {
    let text = table.to_string();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn a_table_tells_each_difference_and_its_reason() {
    let written: Table = WRITTEN.parse().expect("a table");
    let computed = Table::compare(&theirs(), &Operations::of(&ours()), &written);
    assert_eq!(lines(&computed), lines(&written));
    assert_eq!(computed.unexplained(), Vec::<String>::new());
    assert_eq!(computed.to_string().parse(), Ok(computed), "what is written reads the same");
}

#[test]
fn the_table_stands_for_the_contract() {
    let written: Table = WRITTEN.parse().expect("a table");
    let ours = Operations::of(&ours());
    assert_eq!(Table::compare(&written.contract(), &ours, &written), Table::compare(&theirs(), &ours, &written));
}

#[test]
fn a_new_difference_needs_a_reason() {
    let computed = Table::compare(&theirs(), &Operations::of(&ours()), &Table::default());
    let expected =
        ["GET /box", "GET /light", "PUT /box/{}: 200 color", "PUT /box/{}: 200 owner", "PUT /box/{}: 200 parts[].size"];
    assert_eq!(computed.unexplained(), expected);
}

#[test]
fn a_reason_explains_one_difference() {
    let written: Table = WRITTEN.parse().expect("a table");
    let mut ours = ours();
    ours["components"]["schemas"]["Box"]["properties"]["parts"]["items"]["properties"]["size"]["type"] =
        json!("boolean");
    let computed = Table::compare(&theirs(), &Operations::of(&ours), &written);
    assert_eq!(computed.unexplained(), ["PUT /box/{}: 200 parts[].size"]);
}

#[test]
fn a_request_may_name_what_it_likes_where_it_may_have_any() {
    let mut ours = ours();
    ours["components"]["schemas"]["Change"]["properties"]["tags"] =
        object(json!({ "only": { "type": "string" } }), &[]);
    let written: Table = WRITTEN.parse().expect("a table");
    let computed = Table::compare(&theirs(), &Operations::of(&ours), &written);
    assert_eq!(computed.unexplained(), ["PUT /box/{}: body tags.*"]);
}

#[test]
fn an_excuse_that_no_longer_applies_is_a_difference() {
    let written: Table = WRITTEN.parse().expect("a table");
    let mut ours = ours();
    ours["components"]["schemas"]["Box"]["properties"]["owner"] = json!({ "type": "string" });
    ours["paths"]["/box"] = json!({ "get": { "responses": { "200": {} } } });
    let computed = Table::compare(&written.contract(), &Operations::of(&ours), &written);
    let found = differences(&written.to_string(), &computed.to_string());
    assert!(found.contains("- PUT /box/{}: 200   owner"), "{found}");
    assert!(found.contains("+ GET /box\n"), "{found}");
}

#[test]
fn a_request_may_ask_for_less_and_an_answer_give_more() {
    let mut ours = ours();
    ours["components"]["schemas"]["Box"]["required"] = json!([]);
    ours["components"]["schemas"]["Change"]["required"] = json!(["name", "tags"]);
    let computed = lines(&Table::compare(&theirs(), &Operations::of(&ours), &Table::default()));
    assert!(computed.contains(&"200 id string must ~ string may:".to_owned()), "{computed:#?}");
    assert!(computed.contains(&"body tags object may ~ object must:".to_owned()), "{computed:#?}");
    assert!(computed.contains(&"body name string must".to_owned()), "{computed:#?}");
}

#[test]
fn equal_parts_are_written_once() {
    let mut documents = ours();
    documents["paths"]["/crate/{id}"] = documents["paths"]["/box/{id}"].clone();
    let both = Operations::of(&documents);
    let table = Table::compare(&both, &both, &Table::default());
    let text = table.to_string();
    assert!(text.contains("    200   = PUT /box/{} 200\n"), "{text}");
    assert_eq!(text.parse(), Ok(table));
}

#[test]
fn a_schema_that_holds_itself_is_told_once() {
    let child = json!({ "type": "array", "items": { "$ref": "#/components/schemas/Box" } });
    let document = document(object(json!({ "inside": child }), &[]), object(json!({}), &[]), json!({}));
    let operations = Operations::of(&document);
    let table = lines(&Table::compare(&operations, &operations, &Table::default()));
    assert_eq!(table[3..], ["200 . object must", "200 inside array may"]);
}

#[test]
fn a_line_that_says_nothing_is_refused() {
    for (text, expected) in [
        ("    200 id string must", "line 1: belongs to no operation"),
        ("box", "line 1: an operation is METHOD /path"),
        ("GET /box\n    200 id string always", "line 2: a field must be there or may: write must or may"),
        ("GET /box\n    200 id string may * x", "line 2: a remark begins with -, + or ~"),
        ("GET /box\n    200 id string may ~ integer", "line 2: a difference is ~ type must: reason"),
        ("GET /box\n    200 = GET /light 200", "line 2: the other part is not above"),
    ] {
        assert_eq!(text.parse::<Table>(), Err(expected.to_owned()), "{text}");
    }
}
