//! What somebody meant who named a field or a parameter that there isn't.

/// How alike two names must be, of 1.
const ALIKE: f64 = 0.75;

/// A name, and what who gives it means.
pub type Meant = (&'static str, &'static str);

/// Says more than the library does of a field that it does not know: "unknown field `a`, expected one of `b`, `c`". Other
/// messages stay as they are. `otherwise` is what people call things that have another name here.
pub fn explain(message: &str, otherwise: &[Meant]) -> String {
    let Some((given, known)) = parts(message) else { return message.to_owned() };
    format!("unknown field {}", guess(given, known, otherwise))
}

/// The name in quotes, and what was meant, if one can tell.
pub fn guess<'n>(given: &str, known: impl Iterator<Item = &'n str>, otherwise: &[Meant]) -> String {
    let alike = |name: &&str| strsim::jaro_winkler(&given.to_lowercase(), &name.to_lowercase());
    let nearest = known.max_by(|a, b| alike(a).total_cmp(&alike(b))).filter(|name| alike(name) >= ALIKE);
    let otherwise = otherwise.iter().find(|(name, _)| *name == given).map(|(_, meant)| *meant);
    match otherwise.or(nearest) {
        Some(meant) => format!("{given:?}: did you mean {meant}?"),
        None => format!("{given:?}"),
    }
}

/// The field that was given, and those that there are.
fn parts(message: &str) -> Option<(&str, impl Iterator<Item = &str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    // Whoever gives the name may put anything into it; what there is comes after the last such words.
    let (given, known) = rest.rsplit_once("`, expected ")?;
    Some((given, known.split('`').skip(1).step_by(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Two {
        #[serde(rename = "networkAllowList")]
        _list: Option<String>,
        #[serde(rename = "env")]
        _env: Option<String>,
    }

    #[test]
    fn names_the_nearest() {
        for (field, expected) in [
            ("networkAlowList", "unknown field \"networkAlowList\": did you mean networkAllowList?"),
            ("network_allow_list", "unknown field \"network_allow_list\": did you mean networkAllowList?"),
            ("mem", "unknown field \"mem\": did you mean memory?"),
            ("envVars", "unknown field \"envVars\": did you mean env?"),
            ("zzz", "unknown field \"zzz\""),
            ("a`, expected `b", "unknown field \"a`, expected `b\""),
        ] {
            let body = serde_json::json!({ field: 1 });
            let error = serde_json::from_value::<Two>(body).err().expect("unknown").to_string();
            assert_eq!(explain(&error, &[("mem", "memory"), ("envVars", "env")]), expected);
        }
        assert_eq!(explain("invalid type: map", &[]), "invalid type: map");
    }
}
