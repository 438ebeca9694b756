use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::ParseError;

/// An event's place in its log: 1 for the first, then one more for each. 0 is
/// the place before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Before the first event.
    pub const START: Self = Self(0);

    /// The place `count` events further on.
    #[must_use]
    pub fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }

    /// How many events lie after `earlier`, up to and including this one.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The characters of an epoch: 32 of them, lower case, without those that are
/// mistaken for another (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const EPOCH_LEN: usize = 8;

/// Which log a position is a place in. A log gets its epoch when it is made, so
/// that a cursor of another log is known for what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch([u8; EPOCH_LEN]);

impl Epoch {
    /// A new random epoch.
    pub fn generate() -> Self {
        let random = Uuid::new_v4().as_u128();
        Self(std::array::from_fn(|i| {
            ALPHABET[(random >> (5 * i)) as usize & 31]
        }))
    }

    /// The epoch as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("the alphabet is ASCII")
    }
}

impl FromStr for Epoch {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        <[u8; EPOCH_LEN]>::try_from(text.as_bytes())
            .ok()
            .filter(|bytes| bytes.iter().all(|b| ALPHABET.contains(b)))
            .map(Self)
            .ok_or(ParseError {
                what: "epoch",
                expected: "8 characters of 0-9 a-z without i, l, o and u",
            })
    }
}

/// A place in the log, as clients hold it: they keep it, give it back, and never
/// look inside. It is the `id:` of a stream's events, and to resume after it
/// means to get everything that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Which log.
    pub epoch: Epoch,
    /// Where in it.
    pub position: Position,
}

impl Cursor {
    /// Its JSON Schema. The format is ours: a schema cannot say where the
    /// numbers end.
    pub fn schema() -> Value {
        json!({
            "description": "A place in the log, as the server gave it",
            "type": "string", "format": "cursor",
            "pattern": "^[0-9abcdefghjkmnpqrstvwxyz]{8}-(0|[1-9][0-9]{0,19})$",
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch.as_str(), self.position.0)
    }
}

impl FromStr for Cursor {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let (epoch, position) = text.split_once('-')?;
            let cursor = Self {
                epoch: epoch.parse().ok()?,
                position: Position(position.parse().ok()?),
            };
            // One cursor, one spelling: no sign, no leading zeros.
            (cursor.to_string() == text).then_some(cursor)
        };
        parse().ok_or(ParseError {
            what: "cursor",
            expected: "a cursor as this server gave it, unchanged",
        })
    }
}

impl serde::Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_as_it_was_written(position: u64) {
            let cursor = Cursor { epoch: Epoch::generate(), position: Position(position) };
            prop_assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }

        #[test]
        fn any_text_is_a_cursor_with_one_spelling_or_refused(text in ".{0,40}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }

    #[test]
    fn unreadable_cursors_are_refused() {
        for wrong in [
            "",
            "-",
            "abc",
            "0123abcd",
            "0123abcd-",
            "0123abcd-01",
            "0123abcd-+1",
            "0123abcd--1",
            "0123abcd-18446744073709551616",
            "0123abci-1",
            "0123ABCD-1",
            "0123abcd-1 ",
        ] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong:?}");
        }
        assert!("0123abcd-0".parse::<Cursor>().is_ok());
    }
}
