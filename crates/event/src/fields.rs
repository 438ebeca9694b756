use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::Value;

use crate::{Invalid, JsonObject, ParseError};

/// Reads a JSON object field by field, and finds everything that is wrong with
/// it in one go: fields that are missing, that hold the wrong thing, or that
/// nobody asked for.
///
/// ```
/// use notification_event::{Fields, ClientId};
/// let object = serde_json::json!({"client": "alice", "colour": "red"});
/// let mut fields = Fields::new(object.as_object().unwrap().clone());
/// let client: Option<ClientId> = fields.required("client", notification_event::Fields::parsed);
/// assert_eq!(client.unwrap().as_str(), "alice");
/// let refusal = fields.finish().unwrap_err();
/// assert_eq!(refusal.to_string(), "colour: expected no such field; known are client");
/// ```
#[derive(Debug)]
pub struct Fields {
    object: JsonObject,
    known: Vec<&'static str>,
    refusals: Vec<Invalid>,
}

impl Fields {
    /// A reader of `object`.
    pub fn new(object: JsonObject) -> Self {
        Self {
            object,
            known: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// Takes a field that has to be there. `None` means that
    /// [`finish`](Self::finish) will refuse.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value) -> Result<T, Invalid>,
    ) -> Option<T> {
        if !self.object.contains_key(name) {
            self.refuse(Invalid::field(name, "this field, which is required"));
        }
        self.optional(name, read)
    }

    /// Takes a field that may be absent. `null` is a value, not absence.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value) -> Result<T, Invalid>,
    ) -> Option<T> {
        self.known.push(name);
        let value = self.object.shift_remove(name)?;
        match read(value) {
            Ok(value) => Some(value),
            Err(invalid) => {
                self.refuse(invalid.within(name));
                None
            }
        }
    }

    /// Adds a refusal that concerns several fields at once.
    pub fn refuse(&mut self, invalid: Invalid) {
        self.refusals.push(invalid);
    }

    /// Refuses if anything was wrong, or is left over.
    pub fn finish(self) -> Result<(), Invalid> {
        let expected = format!("no such field; known are {}", self.known.join(", "));
        let left_over = self
            .object
            .iter()
            .map(|(name, _)| Invalid::field(name, &expected));
        Invalid::collect(self.refusals.into_iter().chain(left_over))
    }

    /// Reads a string that parses as `T`.
    pub fn parsed<T: FromStr<Err = ParseError>>(value: Value) -> Result<T, Invalid> {
        Ok(string(value)?.parse::<T>()?)
    }
}

pub(crate) fn string(value: Value) -> Result<String, Invalid> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(Invalid::value("a string")),
    }
}

pub(crate) fn boolean(value: Value) -> Result<bool, Invalid> {
    value
        .as_bool()
        .ok_or_else(|| Invalid::value("true or false"))
}

pub(crate) fn array(value: Value) -> Result<Vec<Value>, Invalid> {
    match value {
        Value::Array(elements) => Ok(elements),
        _ => Err(Invalid::value("an array")),
    }
}

pub(crate) fn object(value: Value) -> Result<JsonObject, Invalid> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(Invalid::value("an object")),
    }
}

/// Reads an object whose JSON takes at most `max` bytes.
pub(crate) fn object_of_at_most(max: usize) -> impl FnOnce(Value) -> Result<JsonObject, Invalid> {
    move |value| {
        let depth = depth(&value);
        let object = object(value)?;
        let size = serde_json::to_vec(&object).map_or(usize::MAX, |json| json.len());
        if size <= max && depth <= MAX_DEPTH {
            Ok(object)
        } else {
            let max = max / 1024;
            let expected = format!("an object of at most {max} KiB, {MAX_DEPTH} levels deep");
            Err(Invalid::value(expected))
        }
    }
}

/// How many arrays and objects may lie within one another. Who reads an event
/// finds it within others, and some parsers take no more than 128 in all: one
/// event would spoil whole pages for them.
pub(crate) const MAX_DEPTH: usize = 100;

/// What a parser has made is not too deep for this, either.
fn depth(value: &Value) -> usize {
    let within = match value {
        Value::Array(values) => values.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        _ => return 0,
    };
    1 + within.unwrap_or_default()
}

/// Reads a string by its length in characters (Unicode scalar values).
pub(crate) fn text(length: RangeInclusive<usize>) -> impl FnOnce(Value) -> Result<String, Invalid> {
    move |value| {
        let expected = || {
            let (min, max) = (length.start(), length.end());
            Invalid::value(format!("a string of {min} to {max} characters"))
        };
        let text = string(value).map_err(|_| expected())?;
        match length.contains(&text.chars().count()) {
            true => Ok(text),
            false => Err(expected()),
        }
    }
}

pub(crate) fn number(range: RangeInclusive<f64>) -> impl FnOnce(Value) -> Result<f64, Invalid> {
    move |value| {
        value.as_f64().filter(|n| range.contains(n)).ok_or_else(|| {
            let (min, max) = (range.start(), range.end());
            Invalid::value(format!("a number from {min} to {max}"))
        })
    }
}

pub(crate) fn integer(range: RangeInclusive<u64>) -> impl FnOnce(Value) -> Result<u64, Invalid> {
    move |value| {
        whole(&value).filter(|n| range.contains(n)).ok_or_else(|| {
            let (min, max) = (range.start(), range.end());
            Invalid::value(format!("an integer from {min} to {max}"))
        })
    }
}

/// A whole number, however it is written: to JSON Schema 1.0 is an integer
/// (2020-12, section 6.1.1), and some programs write it so.
pub fn whole(value: &Value) -> Option<u64> {
    /// From here on not every integer is a double.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let whole = |float: &f64| float.fract() == 0.0 && (0.0..=EXACT).contains(float);
    value
        .as_u64()
        .or_else(|| value.as_f64().filter(whole).map(|float| float as u64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn integers_may_be_written_with_a_fraction_of_nothing() {
        let check = |json: &str, expected: Option<u64>| {
            let value = serde_json::from_str(json).unwrap();
            assert_eq!(integer(1..=1_000_000)(value).ok(), expected, "{json}");
        };
        check("1", Some(1));
        check("1.0", Some(1));
        check("1e3", Some(1_000));
        check("1000000.0", Some(1_000_000));
        for wrong in [
            "0", "0.0", "-0.0", "-1", "1.5", "1e7", "1e300", "\"1\"", "true",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn objects_have_a_size_and_a_depth() {
        let check = |value: Value, fits: bool| {
            assert_eq!(
                object_of_at_most(1_024)(value.clone()).is_ok(),
                fits,
                "{value}"
            );
        };
        check(json!({}), true);
        check(json!({"a": "x".repeat(1_016)}), true);
        check(json!({"a": "x".repeat(1_017)}), false);
        check(json!([]), false);
        assert_eq!(depth(&json!([1, [[], {"a": []}], {}])), 4);
        let levels = |depth| (1..depth).fold(json!({}), |within, _| json!({"a": within}));
        check(levels(MAX_DEPTH), true);
        check(levels(MAX_DEPTH + 1), false);
    }
}
