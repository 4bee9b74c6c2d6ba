//! Completions in the toolbox API's shape.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::server::nonsense;
use crate::http::error::Failure;

#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CompletionList {
    #[serde(default)]
    #[cfg_attr(test, schema(required = true))]
    is_incomplete: bool,
    items: Vec<Item>,
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = CompletionItem))]
#[serde(rename_all = "camelCase")]
struct Item {
    label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// An object for callers; servers may give a plain text instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<Object>))]
    documentation: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sort_text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter_text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    insert_text: Option<String>,
    /// What is inserted, when the server names the place as well.
    #[serde(default, skip_serializing)]
    #[cfg_attr(test, schema(ignore))]
    text_edit: Option<Edit>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Edit {
    new_text: String,
}

impl CompletionList {
    /// From a list, an array of items, or null.
    pub fn parse(answer: &RawValue) -> Result<Self, Failure> {
        let text = answer.get();
        let list = match text.as_bytes().first() {
            Some(b'[') => serde_json::from_str(text).map(|items| Self { is_incomplete: false, items }),
            Some(b'{') => serde_json::from_str(text),
            _ => Ok(Self::default()),
        };
        let mut list = list.map_err(|error| nonsense(&error))?;
        list.items.iter_mut().for_each(Item::settle);
        Ok(list)
    }
}

impl Item {
    fn settle(&mut self) {
        self.insert_text = self.insert_text.take().or(self.text_edit.take().map(|edit| edit.new_text));
        if let Some(plain) = self.documentation.take_if(|documentation| documentation.get().starts_with('"')) {
            let object = format!("{{\"kind\":\"plaintext\",\"value\":{plain}}}");
            self.documentation = RawValue::from_string(object).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> String {
        let raw = RawValue::from_string(text.to_owned()).expect("JSON");
        serde_json::to_string(&CompletionList::parse(&raw).expect("completions")).expect("JSON")
    }

    #[test]
    fn all_forms_become_a_list() {
        assert_eq!(parse("null"), r#"{"isIncomplete":false,"items":[]}"#);
        let items = r#"[{"label":"a","documentation":"x","textEdit":{"newText":"b","range":{}},"data":1}]"#;
        let expected = r#"[{"label":"a","documentation":{"kind":"plaintext","value":"x"},"insertText":"b"}]"#;
        assert_eq!(parse(items), format!(r#"{{"isIncomplete":false,"items":{expected}}}"#));
        let list = r#"{"isIncomplete":true,"items":[{"label":"a","kind":3,"documentation":{"value":""}}]}"#;
        assert_eq!(parse(list), list);
    }
}
