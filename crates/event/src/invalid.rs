use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use crate::schema::object;

/// One value that is not what it has to be. `expected` is a sentence fragment
/// that reads on after "expected", such as `a string of 1 to 4096 characters`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: expected {expected}")]
pub struct ParseError {
    /// The noun that was parsed: `topic`, `cursor`, …
    pub what: &'static str,
    /// What would have been accepted.
    pub expected: &'static str,
}

/// A field of the input that is wrong, and what was expected there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where: a field's name, with `[n]` before it for the n-th of an array, counted from 0.
    pub field: String,
    /// What would have been accepted.
    pub expected: String,
}

impl FieldError {
    /// Its JSON Schema.
    pub fn schema() -> Value {
        let text = json!({"type": "string"});
        object(
            json!({"field": text, "expected": text}),
            &["field", "expected"],
        )
    }
}

/// Input that was refused: every field that is wrong, not only the first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    /// The first [`Invalid::MAX_NAMED`]; never empty.
    pub errors: Vec<FieldError>,
    /// How many there are besides.
    pub unnamed: usize,
}

/// How many characters of a name that a publisher made up are repeated.
const MAX_NAME: usize = 64;

impl Invalid {
    /// How many fields are named, so that a refusal is not larger than what it refuses.
    pub const MAX_NAMED: usize = 20;

    /// A refusal because of one field.
    pub fn field(field: impl Into<String>, expected: impl Into<String>) -> Self {
        let mut field = field.into();
        if let Some((end, _)) = field.char_indices().nth(MAX_NAME) {
            field.truncate(end);
            field.push('…');
        }
        let error = FieldError {
            field,
            expected: expected.into(),
        };
        Self {
            errors: vec![error],
            unnamed: 0,
        }
    }

    /// One refusal of all that was refused; none if nothing was.
    pub fn collect(refusals: impl IntoIterator<Item = Self>) -> Result<(), Self> {
        let mut refusals = refusals.into_iter();
        let Some(mut all) = refusals.next() else {
            return Ok(());
        };
        for Self { errors, unnamed } in refusals {
            all.unnamed += unnamed;
            for error in errors {
                match all.errors.len() < Self::MAX_NAMED {
                    true => all.errors.push(error),
                    false => all.unnamed += 1,
                }
            }
        }
        Err(all)
    }

    /// A refusal of the value as a whole, to be placed by [`Invalid::within`].
    pub fn value(expected: impl Into<String>) -> Self {
        Self::field("", expected)
    }

    /// The same refusal, of what stands inside the field or element `outer`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        for error in &mut self.errors {
            error.field = match error.field.as_str() {
                "" => outer.to_owned(),
                inner => format!("{outer}.{inner}"),
            };
        }
        self
    }
}

/// A word that does not parse is refused with what it should have been.
impl From<ParseError> for Invalid {
    fn from(error: ParseError) -> Self {
        Self::value(error.expected)
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, FieldError { field, expected }) in self.errors.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            let colon = if field.is_empty() { "" } else { ": " };
            write!(f, "{separator}{field}{colon}expected {expected}")?;
        }
        match self.unnamed {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_bounded_however_much_is_wrong() {
        let name = "n".repeat(10_000);
        let all = Invalid::collect((0..1_000).map(|_| Invalid::field(&name, "less"))).unwrap_err();
        assert_eq!((all.errors.len(), all.unnamed), (20, 980));
        let text = all.to_string();
        assert!(text.ends_with("…: expected less; and 980 more"), "{text}");
        assert!(text.len() < 2_000);
        assert_eq!(Invalid::collect([]), Ok(()));
    }
}
