//! The environment of everything that the agent starts.
//!
//! From weak to strong: what a login would set; the variables of the snapshot and the sandbox; changes by
//! `POST /env`; those of the single request.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::shell;
use crate::guest::identity::Identity;
use crate::http::error::Failure;

pub type Variables = BTreeMap<String, String>;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A change to the environment of later processes: removals first, then what is set.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = UpdateEnvRequest))]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Change {
    set: Variables,
    unset: Vec<String>,
    /// Removes each variable whose value starts so, unless `set` names it.
    unset_value_prefix: Option<String>,
}

/// The variables of a login, then the sandbox's own.
pub fn initial(identity: &Identity, own: &Variables) -> Variables {
    let mut variables: Variables = [
        ("HOME", identity.home.as_str()),
        ("LANG", "C.UTF-8"),
        ("LOGNAME", &identity.name),
        ("PATH", PATH),
        ("USER", &identity.name),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    variables.extend(own.clone());
    if !variables.contains_key("SHELL")
        && let Some(shell) = shell::find(&variables)
    {
        variables.insert("SHELL".to_owned(), shell.to_string_lossy().into_owned());
    }
    variables
}

/// Applies a change as a whole or, when a name is wrong, not at all.
pub fn apply(variables: &mut Variables, change: Change) -> Result<(), Failure> {
    check(&change.set)?;
    for name in &change.unset {
        variables.remove(name);
    }
    if let Some(prefix) = change.unset_value_prefix.filter(|prefix| !prefix.is_empty()) {
        variables.retain(|name, value| change.set.contains_key(name) || !value.starts_with(&prefix));
    }
    variables.extend(change.set);
    Ok(())
}

/// Names are identifiers, so that every shell can hold them; no value has a zero byte.
pub fn check(variables: &Variables) -> Result<(), Failure> {
    for (name, value) in variables {
        if !is_identifier(name) {
            return Err(Failure::bad_request(format!(
                "{name:?} is no name of an environment variable: use letters, digits and _, not starting with a digit"
            )));
        }
        if value.contains('\0') {
            return Err(Failure::bad_request(format!("the value of the environment variable {name} has a zero byte")));
        }
    }
    Ok(())
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first == b'_' || first.is_ascii_alphabetic())
        && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn removals_come_before_what_is_set() {
        let mut present = variables(&[("A", "1"), ("B", "secret-x"), ("C", "secret-y"), ("D", "4")]);
        let change = Change {
            set: variables(&[("A", "2"), ("C", "secret-z")]),
            unset: vec!["A".into(), "D".into(), "missing".into()],
            unset_value_prefix: Some("secret-".into()),
        };
        apply(&mut present, change).expect("valid names");
        assert_eq!(present, variables(&[("A", "2"), ("C", "secret-z")]));
    }

    #[test]
    fn names_are_identifiers() {
        for name in ["", "1A", "A-B", "A=B", "Ä", "A B"] {
            assert!(check(&variables(&[(name, "")])).is_err(), "{name:?}");
        }
        assert!(check(&variables(&[("_a1", "any = value\n")])).is_ok());
        assert!(check(&variables(&[("A", "\0")])).is_err());
    }
}
