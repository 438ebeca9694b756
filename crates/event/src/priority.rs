use std::str::FromStr;

use serde_json::{Value, json};

use crate::fields::whole;
use crate::schema::{integer, one_of};
use crate::{Invalid, ParseError};

/// How urgent an event is. In JSON a number from 1 to 5; publishers may also
/// write the word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// 1: nobody has to look.
    Min = 1,
    /// 2
    Low = 2,
    /// 3
    #[default]
    Default = 3,
    /// 4
    High = 4,
    /// 5: somebody has to look now.
    Urgent = 5,
}

const EXPECTED: &str = "an integer from 1 to 5, or min, low, default, high or urgent";

impl Priority {
    const ALL: [(Self, &str); 5] = [
        (Self::Min, "min"),
        (Self::Low, "low"),
        (Self::Default, "default"),
        (Self::High, "high"),
        (Self::Urgent, "urgent"),
    ];

    /// 1 to 5.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The JSON Schema of what publishers may write.
    pub fn schema() -> Value {
        let words = Self::ALL.map(|(_, word)| word);
        json!({
            "description": "How urgent it is; 3 is default",
            "anyOf": [Self::number_schema(), one_of(&words)],
        })
    }

    /// The JSON Schema of what receivers read.
    pub(crate) fn number_schema() -> Value {
        integer(Self::Min.number().into(), Self::Urgent.number().into())
    }

    pub(crate) fn parse(value: Value) -> Result<Self, Invalid> {
        let named = match &value {
            Value::String(text) => text.parse().ok(),
            value => whole(value).and_then(|n| n.to_string().parse().ok()),
        };
        named.ok_or_else(|| Invalid::value(EXPECTED))
    }
}

impl FromStr for Priority {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let named = Self::ALL
            .into_iter()
            .find(|(priority, word)| text == *word || text == priority.number().to_string());
        named.map(|(priority, _)| priority).ok_or(ParseError {
            what: "priority",
            expected: EXPECTED,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_priority_is_a_number_or_a_word() {
        let check = |value: Value, expected: Option<Priority>| {
            assert_eq!(Priority::parse(value.clone()).ok(), expected, "{value}");
        };
        check(json!(1), Some(Priority::Min));
        check(json!(5), Some(Priority::Urgent));
        check(json!(2.0), Some(Priority::Low));
        check(json!("4"), Some(Priority::High));
        check(json!("default"), Some(Priority::Default));
        for wrong in [
            json!(0),
            json!(6),
            json!(2.5),
            json!("HIGH"),
            json!(null),
            json!(""),
        ] {
            check(wrong, None);
        }
    }
}
