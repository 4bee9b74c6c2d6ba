//! Symbols in the toolbox API's shape: a list without levels.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::server::nonsense;
use crate::http::error::Failure;

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = LspSymbol))]
pub struct Symbol {
    name: String,
    kind: u32,
    location: Location,
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = LspLocation))]
struct Location {
    uri: String,
    #[serde(default)]
    #[cfg_attr(test, schema(required = true))]
    range: Range,
}

#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = LspRange))]
struct Range {
    start: Position,
    end: Position,
}

impl Symbol {
    /// `part` is in lower case.
    pub fn is_named_like(&self, part: &str) -> bool {
        self.name.to_ascii_lowercase().contains(part)
    }
}

/// Both count from 0; characters are UTF-16 code units.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = LspPosition))]
pub struct Position {
    line: u32,
    character: u32,
}

/// LSP 3.17: a `SymbolInformation`, which has a location, or a `DocumentSymbol`, which has a range and children.
#[derive(Deserialize)]
struct Given {
    name: String,
    kind: u32,
    location: Option<Location>,
    #[serde(default)]
    range: Range,
    #[serde(default)]
    children: Vec<Given>,
}

/// From an array of either kind, or null. `uri` is the document's, for symbols that do not name it.
pub fn parse(answer: &RawValue, uri: &str) -> Result<Vec<Symbol>, Failure> {
    let given: Option<Vec<Given>> = serde_json::from_str(answer.get()).map_err(|error| nonsense(&error))?;
    let mut symbols = Vec::new();
    flatten(given.unwrap_or_default(), uri, &mut symbols);
    Ok(symbols)
}

fn flatten(given: Vec<Given>, uri: &str, symbols: &mut Vec<Symbol>) {
    for Given { name, kind, location, range, children } in given {
        let location = location.unwrap_or_else(|| Location { uri: uri.to_owned(), range });
        symbols.push(Symbol { name, kind, location });
        flatten(children, uri, symbols);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_flattened() {
        let range = r#"{"start":{"line":1,"character":2},"end":{"line":3,"character":4}}"#;
        let tree = format!(
            r#"[{{"name":"a","kind":5,"range":{range},"selectionRange":{range},
                "children":[{{"name":"b","kind":6,"range":{range}}}]}}]"#
        );
        let raw = RawValue::from_string(tree).expect("JSON");
        let symbols = serde_json::to_string(&parse(&raw, "file:///x").expect("symbols")).expect("JSON");
        let location = format!(r#""location":{{"uri":"file:///x","range":{range}}}"#);
        let expected = format!(r#"[{{"name":"a","kind":5,{location}}},{{"name":"b","kind":6,{location}}}]"#);
        assert_eq!(symbols, expected);
        assert!(parse(RawValue::NULL, "").expect("symbols").is_empty());
    }
}
