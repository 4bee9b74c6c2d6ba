//! The editor that a language server believes to serve: what it says of itself, and its answers to what servers ask.
//! A server that gets no answer may wait for ever.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::wire::{Error, Incoming};

/// JSON-RPC 2.0 §5.1.
const METHOD_NOT_FOUND: i64 = -32601;
/// LSP 3.17, `SymbolKind`: all of them.
const SYMBOL_KINDS: std::ops::RangeInclusive<u8> = 1..=26;

/// The only workspace folder of a server: its project.
#[derive(Debug, Clone, Serialize)]
pub struct Folder {
    pub uri: String,
    pub name: String,
}

/// Parameters of `initialize`. Symbols are asked for as a list with places, as the toolbox API has them, and
/// completions without placeholders.
pub fn introduction(folder: &Folder, path: &str) -> Value {
    let kinds: Vec<u8> = SYMBOL_KINDS.collect();
    json!({
        // Servers end when this process does; they cannot see the agent, and end with the sandbox anyway.
        "processId": null,
        "clientInfo": {"name": "sebring", "version": env!("CARGO_PKG_VERSION")},
        "rootPath": path,
        "rootUri": folder.uri,
        "workspaceFolders": [folder],
        "capabilities": {
            "workspace": {
                "configuration": true,
                "workspaceFolders": true,
                "symbol": {"symbolKind": {"valueSet": kinds}},
            },
            "textDocument": {
                "synchronization": {"dynamicRegistration": false},
                "completion": {
                    "contextSupport": true,
                    "completionItem": {"snippetSupport": false, "documentationFormat": ["markdown", "plaintext"]},
                },
                "documentSymbol": {
                    "hierarchicalDocumentSymbolSupport": false,
                    "symbolKind": {"valueSet": kinds},
                },
            },
        },
    })
}

/// The answer to a server's request.
pub fn answer(request: &Incoming<'_>, folder: &Folder) -> Result<Value, Error> {
    let method = request.method.as_deref().unwrap_or_default();
    match method {
        // No settings: as many nulls as were asked for.
        "workspace/configuration" => Ok(Value::Array(vec![Value::Null; items(request.params)])),
        "workspace/workspaceFolders" => Ok(json!([folder])),
        "workspace/applyEdit" => Ok(json!({"applied": false, "failureReason": "files are changed by the client"})),
        "window/showDocument" => Ok(json!({"success": false})),
        "client/registerCapability"
        | "client/unregisterCapability"
        | "window/showMessageRequest"
        | "window/workDoneProgress/create"
        | "workspace/codeLens/refresh"
        | "workspace/diagnostic/refresh"
        | "workspace/inlayHint/refresh"
        | "workspace/inlineValue/refresh"
        | "workspace/semanticTokens/refresh" => Ok(Value::Null),
        _ => Err(Error { code: METHOD_NOT_FOUND, message: format!("this client does not know {method}") }),
    }
}

fn items(params: Option<&RawValue>) -> usize {
    #[derive(Deserialize)]
    struct Parameters {
        items: Vec<serde::de::IgnoredAny>,
    }
    let parameters = params.and_then(|params| serde_json::from_str::<Parameters>(params.get()).ok());
    parameters.map_or(0, |parameters| parameters.items.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_get_answers() {
        let folder = Folder { uri: "file:///p".into(), name: "p".into() };
        let ask = |text: &str| answer(&serde_json::from_str(text).expect("JSON"), &folder);
        let settings =
            r#"{"id": "a", "method": "workspace/configuration", "params": {"items": [{"section": "x"}, {}]}}"#;
        assert_eq!(ask(settings).ok(), Some(json!([null, null])));
        assert_eq!(ask(r#"{"id": 1, "method": "client/registerCapability"}"#).ok(), Some(Value::Null));
        assert_eq!(ask(r#"{"id": 1, "method": "odd"}"#).expect_err("unknown").code, METHOD_NOT_FOUND);
    }
}
