use std::fmt;

use serde::Serialize;

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

/// Input that was refused: every field that is wrong, not only the first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    /// Never empty.
    pub errors: Vec<FieldError>,
}

impl Invalid {
    /// A refusal because of one field.
    pub fn field(field: impl Into<String>, expected: impl Into<String>) -> Self {
        let error = FieldError {
            field: field.into(),
            expected: expected.into(),
        };
        Self {
            errors: vec![error],
        }
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
        Ok(())
    }
}
