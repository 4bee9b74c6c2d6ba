//! Typed access to the columns of a row, and queries that grow by conditions.

use std::str::FromStr;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row};

use crate::Error;
use crate::instant::from_millis;

/// Reads columns by name.
pub(crate) struct Columns<'r>(pub &'r AnyRow);

impl Columns<'_> {
    pub fn text(&self, column: &'static str) -> Result<String, Error> {
        Ok(self.0.try_get(column)?)
    }

    pub fn optional_text(&self, column: &'static str) -> Result<Option<String>, Error> {
        Ok(self.0.try_get(column)?)
    }

    /// Text in the form that `T` reads: ids, states.
    pub fn parse<T: FromStr>(&self, column: &'static str) -> Result<T, Error> {
        self.text(column)?.parse().map_err(|_| Error::Corrupt { column })
    }

    pub fn optional_parse<T: FromStr>(&self, column: &'static str) -> Result<Option<T>, Error> {
        let text = self.optional_text(column)?;
        text.map(|text| text.parse().map_err(|_| Error::Corrupt { column })).transpose()
    }

    pub fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, Error> {
        serde_json::from_str(&self.text(column)?).map_err(|_| Error::Corrupt { column })
    }

    pub fn integer<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T, Error> {
        let value: i64 = self.0.try_get(column)?;
        T::try_from(value).map_err(|_| Error::Corrupt { column })
    }

    pub fn flag(&self, column: &'static str) -> Result<bool, Error> {
        Ok(self.integer::<i64>(column)? != 0)
    }

    pub fn instant(&self, column: &'static str) -> Result<Timestamp, Error> {
        Ok(from_millis(self.integer(column)?))
    }

    pub fn optional_instant(&self, column: &'static str) -> Result<Option<Timestamp>, Error> {
        let millis: Option<i64> = self.0.try_get(column)?;
        Ok(millis.map(from_millis))
    }
}

/// Maps as the JSON text that columns hold.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("maps and lists of text are JSON")
}

/// A value to bind.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
}

/// A query whose text grows with its parameters. Pieces of text are always literals of this crate.
pub(crate) struct Growing {
    sql: String,
    values: Vec<Value>,
}

impl Growing {
    pub fn new(sql: &'static str) -> Self {
        Self { sql: sql.to_owned(), values: Vec::new() }
    }

    pub fn push(&mut self, sql: &'static str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    pub fn text(&mut self, value: impl Into<String>) -> &mut Self {
        self.bind(Value::Text(value.into()))
    }

    pub fn integer(&mut self, value: impl Into<i64>) -> &mut Self {
        self.bind(Value::Integer(value.into()))
    }

    pub fn bind(&mut self, value: Value) -> &mut Self {
        self.values.push(value);
        self.sql.push('$');
        self.sql.push_str(&self.values.len().to_string());
        self
    }

    /// `column IN (…)`.
    pub fn any_of(&mut self, sql: &'static str, values: impl IntoIterator<Item = String>) -> &mut Self {
        self.push(sql).push(" IN (");
        for (position, value) in values.into_iter().enumerate() {
            if position > 0 {
                self.push(", ");
            }
            self.text(value);
        }
        self.push(")")
    }

    pub fn build(self) -> Query<'static, Any, AnyArguments> {
        let mut query = sqlx::query(AssertSqlSafe(self.sql));
        for value in self.values {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Integer(integer) => query.bind(integer),
            };
        }
        query
    }
}

/// `prefix` as a LIKE pattern, `\` being the escape character.
pub(crate) fn starts_with(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for letter in prefix.to_lowercase().chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}
