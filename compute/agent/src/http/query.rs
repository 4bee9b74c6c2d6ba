//! The query of a request: form-encoded, so `+` and `%20` both are a space.

use std::str::FromStr;

use super::error::Failure;

/// Name and value, in the order of the query.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: Option<&str>) -> Self {
        Self(form_urlencoded::parse(text.unwrap_or("").as_bytes()).into_owned().collect())
    }

    /// The first value of this name, the empty one included.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// What the parameters are called.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// A value that the call cannot do without.
    pub fn required(&self, name: &str) -> Result<&str, Failure> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Failure::bad_request(format!("the query parameter {name} is required")))
    }

    /// A value of another type; an empty one counts as absent.
    pub fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let value = self.get(name).filter(|value| !value.is_empty());
        value.map(|value| value.parse().map_err(|_| Self::malformed(name, value))).transpose()
    }

    pub fn flag(&self, name: &str) -> Result<bool, Failure> {
        match self.get(name) {
            None | Some("" | "false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(value) => Err(Self::malformed(name, value)),
        }
    }

    fn malformed(name: &str, value: &str) -> Failure {
        Failure::bad_request(format!("the query parameter {name} has the malformed value {value:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_space() {
        let query = Query::parse(Some("path=a+b%20c%2Bd&empty=&depth=2&flag=true&bad=x"));
        assert_eq!(query.get("path"), Some("a b c+d"));
        assert_eq!(query.parsed::<u32>("depth").expect("a number"), Some(2));
        assert_eq!(query.parsed::<u32>("empty").expect("absent"), None);
        assert!(query.required("empty").is_err() && query.parsed::<u32>("bad").is_err());
        assert!(query.flag("flag").expect("a flag") && !query.flag("missing").expect("absent"));
        assert!(query.flag("bad").is_err());
    }
}
