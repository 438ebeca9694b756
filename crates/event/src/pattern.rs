use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::topic::{MAX_LEN, MAX_SEGMENTS, RESERVED_SEGMENT, SEGMENT, are_segments, is_reserved};
use crate::{ParseError, Topic};

/// Which topics are meant: a topic in which `*` stands for any one segment, and
/// `**` at the end for any number of them, none included.
///
/// `ops/*` is `ops/backups` but neither `ops` nor `ops/db/eu`; `ops/**` is all three.
///
/// Topics of the server itself are meant only by patterns that name their first
/// segment: `$receipts/*`, but neither `*/*` nor `**`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

/// One segment of a [`Pattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// Exactly this segment.
    Literal(&'a str),
    /// `*`: any one segment.
    One,
    /// `**`: everything that follows, nothing included. Only ever the last.
    Rest,
}

impl Pattern {
    /// The pattern as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, from the left.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.0.split('/').map(|segment| match segment {
            "*" => Segment::One,
            "**" => Segment::Rest,
            literal => Segment::Literal(literal),
        })
    }

    /// Whether `topic` is one of those meant.
    pub fn matches(&self, topic: &Topic) -> bool {
        if topic.is_reserved() && !is_reserved(&self.0) {
            return false;
        }
        let mut topic = topic.segments();
        for segment in self.segments() {
            match (segment, topic.next()) {
                (Segment::Rest, _) => return true,
                (Segment::One, Some(_)) => {}
                (Segment::Literal(wanted), Some(given)) if wanted == given => {}
                _ => return false,
            }
        }
        topic.next().is_none()
    }

    /// The topics that both mean, which is one pattern; none if there are none.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Option<Self> {
        if is_reserved(&self.0) != is_reserved(&other.0) {
            return None;
        }
        let (mut left, mut right) = (self.0.split('/'), other.0.split('/'));
        let mut meet: Vec<&str> = Vec::new();
        loop {
            match (left.next(), right.next()) {
                (None, None) => break,
                (Some("**"), rest) => meet.extend(rest.into_iter().chain(right.by_ref())),
                (rest, Some("**")) => meet.extend(rest.into_iter().chain(left.by_ref())),
                (Some("*"), Some(segment)) | (Some(segment), Some("*")) => meet.push(segment),
                (Some(a), Some(b)) if a == b => meet.push(a),
                _ => return None,
            }
        }
        Some(Self(meet.join("/").into()))
    }

    /// Whether it means one topic only.
    pub fn is_literal(&self) -> bool {
        self.segments().all(|s| matches!(s, Segment::Literal(_)))
    }

    /// Its JSON Schema.
    pub fn schema() -> Value {
        let between = MAX_SEGMENTS - 2;
        let (one, own) = (
            format!("([*]|{SEGMENT})"),
            format!("([*]|{RESERVED_SEGMENT})"),
        );
        let any = format!("([*]{{2}}|{one}(/{one}){{0,{between}}}(/([*]{{2}}|{one}))?)");
        let reserved = format!("[$]{SEGMENT}(/{own}){{0,{between}}}(/([*]{{2}}|{own}))?");
        json!({
            "description": "A topic in which * stands for one segment and a final ** for any rest",
            "type": "string", "pattern": format!("^({any}|{reserved})$"), "maxLength": MAX_LEN,
        })
    }
}

impl FromStr for Pattern {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let fits = text.len() <= MAX_LEN && text.split('/').count() <= MAX_SEGMENTS;
        let head = match text.rsplit_once('/') {
            Some((head, "**")) => head,
            None if text == "**" => "*",
            _ => text,
        };
        let literals = head.split('/').map(|s| if s == "*" { "a" } else { s });
        if fits && are_segments(literals) {
            Ok(Self(text.into()))
        } else {
            Err(ParseError {
                what: "topic pattern",
                expected: "a topic in which * stands for one segment and a final ** for any rest",
            })
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_topics() {
        let check = |pattern: &str, topic: &str, expected: bool| {
            let matches = pattern
                .parse::<Pattern>()
                .unwrap()
                .matches(&topic.parse().unwrap());
            assert_eq!(matches, expected, "{pattern} against {topic}");
        };
        check("ops", "ops", true);
        check("ops", "ops/a", false);
        check("ops", "opsx", false);
        check("ops/*", "ops/a", true);
        check("ops/*", "ops", false);
        check("ops/*", "ops/a/b", false);
        check("*/a", "ops/a", true);
        check("ops/**", "ops", true);
        check("ops/**", "ops/a", true);
        check("ops/**", "ops/a/b", true);
        check("ops/**", "opsx", false);
        check("*/**", "ops/a/b", true);
        check("**", "a/b/c", true);
        check("**", "$presence", false);
        check("*", "$presence", false);
        check("$presence", "$presence", true);
        check("$receipts/*", "$receipts/a:b", true);
        check("$receipts/**", "$receipts/a", true);
        check("*/**", "$receipts/a", false);
    }

    #[test]
    fn two_patterns_meet_in_one() {
        let check = |a: &str, b: &str, expected: Option<&str>| {
            let [a, b]: [Pattern; 2] = [a, b].map(|p| p.parse().unwrap());
            for met in [a.meet(&b), b.meet(&a)] {
                assert_eq!(met.as_ref().map(Pattern::as_str), expected, "{a} {b}");
            }
        };
        check("ops/**", "**", Some("ops/**"));
        check("ops/**", "ops", Some("ops"));
        check("ops/**", "*/db", Some("ops/db"));
        check("ops/**", "*", Some("ops"));
        check("*/db/**", "ops/*", Some("ops/db"));
        check("ops/**", "ops/a/**", Some("ops/a/**"));
        check("**", "**", Some("**"));
        check("ops/*", "ops", None);
        check("ops/*", "dev/*", None);
        check("**", "$presence", None);
        check("$receipts/**", "$receipts/a", Some("$receipts/a"));
    }

    proptest::proptest! {
        #[test]
        fn a_topic_is_in_the_meet_if_it_is_in_both(
            a in "[$]?[ab*](/[ab*]){0,3}(/[*]{2})?",
            b in "[$]?[ab*](/[ab*]){0,3}(/[*]{2})?",
            topic in "[$]?[ab](/[ab]){0,5}",
        ) {
            let topic: Topic = topic.parse().unwrap();
            if let (Ok(a), Ok(b)) = (a.parse::<Pattern>(), b.parse::<Pattern>()) {
                let meet = a.meet(&b);
                if let Some(meet) = &meet {
                    assert_eq!(meet.as_str().parse(), Ok(meet.clone()));
                }
                let both = a.matches(&topic) && b.matches(&topic);
                assert_eq!(meet.is_some_and(|m| m.matches(&topic)), both, "{a} {b} {topic}");
            }
        }
    }

    #[test]
    fn patterns_are_parsed_at_the_door() {
        for wrong in [
            "", "/", "**/a", "a/**/b", "a*", "a/b*", "***", "a//b", "a b", "$*", "$", "a/$b",
        ] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong:?}");
        }
    }
}
