use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::ParseError;

/// The longest identifier, in bytes.
const MAX_LEN: usize = 128;

fn is_identifier(text: &str) -> bool {
    (1..=MAX_LEN).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._:~-".contains(&b))
        // `.` and `..` mean something else in a path.
        && text.bytes().any(|b| b != b'.')
}

fn schema() -> Value {
    json!({"type": "string", "pattern": r"^\.*[A-Za-z0-9_:~-][A-Za-z0-9._:~-]*$", "maxLength": MAX_LEN})
}

macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident = $what:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// 1 to 128 of the characters `A-Z a-z 0-9 . _ : ~ -, not only dots`. Cheap to clone.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Its JSON Schema.
            pub fn schema() -> Value {
                schema()
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                if is_identifier(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(ParseError {
                        what: $what,
                        expected: "1 to 128 of the characters A-Z a-z 0-9 . _ : ~ -, not only dots",
                    })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    )*};
}

identifiers! {
    /// What identifies one event, everywhere it goes.
    EventId = "event id";
    /// What identifies one long-running job across its progress events.
    TaskId = "task id";
    /// A named subscriber, on however many connections.
    ClientId = "client id";
    /// The name of an application's own event, such as `incident.created`.
    EventName = "event name";
    /// A named set of clients.
    GroupName = "group";
    /// A word by which events can be filtered.
    Tag = "tag";
    /// What events that replace one another have in common.
    CollapseKey = "collapse key";
}

impl EventId {
    /// A new UUIDv7 (RFC 9562, section 5.7): unique, and in order of time.
    pub fn generate() -> Self {
        Self(Uuid::now_v7().to_string().into())
    }
}

impl TaskId {
    /// A new random UUID (RFC 9562, section 5.4).
    pub fn generate() -> Self {
        Self(Uuid::new_v4().to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_parsed_at_the_door() {
        let check = |text: &str, ok: bool| {
            assert_eq!(text.parse::<ClientId>().is_ok(), ok, "{text:?}");
        };
        check("alice", true);
        check("A-z.0_9:~", true);
        check(&"x".repeat(128), true);
        check(&"x".repeat(129), false);
        for hostile in [
            "", " ", ".", "..", "a b", "a\nb", "a\0b", "a/b", "ä", "a\"b", "$x", "*",
        ] {
            check(hostile, false);
        }
    }

    #[test]
    fn generated_ids_are_identifiers_and_event_ids_follow_time() {
        let (first, second) = (EventId::generate(), EventId::generate());
        assert!(first.as_str().parse::<EventId>().is_ok());
        assert!(TaskId::generate().as_str().parse::<TaskId>().is_ok());
        assert!(first < second);
    }
}
