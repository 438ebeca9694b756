use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::ParseError;

/// The longest topic or pattern, in bytes.
pub(crate) const MAX_LEN: usize = 255;
/// The most segments that a topic or pattern has.
pub(crate) const MAX_SEGMENTS: usize = 8;

/// A segment, as regular expressions say it.
pub(crate) const SEGMENT: &str = "[A-Za-z0-9._-]+";
/// A segment of a reserved topic, after the first.
pub(crate) const RESERVED_SEGMENT: &str = "[A-Za-z0-9._:~-]+";

/// Where an event belongs: `ops/backups`.
///
/// One to 8 segments of `A-Z a-z 0-9 . _ -`, separated by `/`, at most 255 bytes
/// in all. Cheap to clone.
///
/// Topics that begin with `$` are the server's own, such as `$presence`: nobody
/// else publishes there, and only patterns that begin with the same `$…` match
/// them. Their further segments may be any identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

impl Topic {
    /// The topic as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the server's own.
    pub fn is_reserved(&self) -> bool {
        is_reserved(&self.0)
    }

    /// The segments, from the left.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Its JSON Schema.
    pub fn schema() -> Value {
        let more = MAX_SEGMENTS - 1;
        let (any, reserved) = (SEGMENT, RESERVED_SEGMENT);
        let pattern = format!("^({any}(/{any}){{0,{more}}}|[$]{any}(/{reserved}){{0,{more}}})$");
        json!({
            "description": "Where an event belongs; those that begin with $ are the server's own",
            "type": "string", "pattern": pattern, "maxLength": MAX_LEN,
        })
    }

    /// The JSON Schema of those on which others than the server may publish.
    pub fn publishable_schema() -> Value {
        let more = MAX_SEGMENTS - 1;
        json!({
            "description": "Where an event belongs",
            "type": "string", "pattern": format!("^{SEGMENT}(/{SEGMENT}){{0,{more}}}$"),
            "maxLength": MAX_LEN,
        })
    }
}

/// The topic of events that name none: `default`.
impl Default for Topic {
    fn default() -> Self {
        Self("default".into())
    }
}

impl FromStr for Topic {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let fits = text.len() <= MAX_LEN && text.split('/').count() <= MAX_SEGMENTS;
        if fits && are_segments(text.split('/')) {
            Ok(Self(text.into()))
        } else {
            Err(ParseError {
                what: "topic",
                expected: "1 to 8 segments of A-Z a-z 0-9 . _ - separated by /, at most 255 bytes",
            })
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Topic {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

pub(crate) fn is_reserved(text: &str) -> bool {
    text.starts_with('$')
}

/// Whether these are the segments of a topic. Those of a reserved one may also
/// have `:` and `~`, which identifiers have.
pub(crate) fn are_segments<'a>(segments: impl Iterator<Item = &'a str>) -> bool {
    let mut segments = segments.peekable();
    let reserved = segments.peek().copied().and_then(|s| s.strip_prefix('$'));
    match reserved {
        None => segments.all(|segment| consists_of(segment, b"._-")),
        Some(first) => {
            consists_of(first, b"._-") && segments.skip(1).all(|s| consists_of(s, b"._:~-"))
        }
    }
}

fn consists_of(text: &str, punctuation: &[u8]) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || punctuation.contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_parsed_at_the_door() {
        let check = |text: &str, ok: bool| {
            assert_eq!(text.parse::<Topic>().is_ok(), ok, "{text:?}");
        };
        check("ops", true);
        check("ops/backups", true);
        check("a/b/c/d/e/f/g/h", true);
        check("a/b/c/d/e/f/g/h/i", false);
        check(&"x".repeat(255), true);
        check(&"x".repeat(256), false);
        for wrong in [
            "", "/", "a/", "/a", "a//b", "a b", "*", "a/**", "a:b", "a/$b", "$", "$/a", "$a:b",
            "a\n", "ä",
        ] {
            check(wrong, false);
        }
    }

    #[test]
    fn topics_of_the_server_itself_are_known_by_their_sign() {
        let check = |text: &str, reserved: bool| {
            assert_eq!(text.parse::<Topic>().unwrap().is_reserved(), reserved);
        };
        check("$presence", true);
        check("$receipts/a:b~c", true);
        check("presence", false);
    }
}
