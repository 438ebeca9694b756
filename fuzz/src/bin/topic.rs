//! Topics and patterns: what is taken has one spelling and is what the schemas
//! take, and a pattern means the topics that a naive reading says it means.
//!
//! Input: a pattern and a topic, each on a line.
#![no_main]

use std::sync::LazyLock;

use jsonschema::Validator;
use libfuzzer_sys::fuzz_target;
use notification_event::{Pattern, Topic};
use notification_fuzz::validator;
use serde_json::Value;

static TOPIC: LazyLock<Validator> = LazyLock::new(|| validator("Topic"));
static PUBLISHABLE: LazyLock<Validator> = LazyLock::new(|| validator("PublishableTopic"));
static PATTERN: LazyLock<Validator> = LazyLock::new(|| validator("Pattern"));

fuzz_target!(|text: &str| {
    let (pattern, topic) = text.split_once('\n').unwrap_or((text, text));
    for text in [text, pattern, topic] {
        read_topic(text);
        read_pattern(text);
    }
    let Some(pattern) = read_pattern(pattern) else {
        return;
    };
    // What an input seldom hits on: topics that resemble the pattern.
    let likely = ["x", "x/y", ""].map(|rest| {
        let likely = pattern.as_str().replace("**", rest).replace('*', "z");
        likely.trim_end_matches('/').to_owned()
    });
    for topic in likely.iter().map(String::as_str).chain([topic]) {
        let Some(topic) = read_topic(topic) else {
            continue;
        };
        let (wanted, given): (Vec<_>, Vec<_>) = (
            pattern.as_str().split('/').collect(),
            topic.as_str().split('/').collect(),
        );
        let is_shown = !topic.as_str().starts_with('$') || pattern.as_str().starts_with('$');
        let expected = is_shown && means(&wanted, &given);
        assert_eq!(pattern.matches(&topic), expected, "{pattern} {topic}");
    }
});

/// Whether a topic of these segments is meant, as the documentation says it.
fn means(pattern: &[&str], topic: &[&str]) -> bool {
    match (pattern, topic) {
        ([], []) | (["**"], _) => true,
        (["*", pattern @ ..], [_, topic @ ..]) => means(pattern, topic),
        ([wanted, pattern @ ..], [given, topic @ ..]) => wanted == given && means(pattern, topic),
        _ => false,
    }
}

fn read_topic(text: &str) -> Option<Topic> {
    let topic = text.parse::<Topic>().ok();
    let value = Value::from(text);
    assert_eq!(TOPIC.is_valid(&value), topic.is_some(), "{text:?}");
    let is_publishable = topic.as_ref().is_some_and(|topic| !topic.is_reserved());
    assert_eq!(PUBLISHABLE.is_valid(&value), is_publishable, "{text:?}");
    let topic = topic?;
    assert_eq!(topic.to_string(), text);
    assert_eq!(serde_json::to_value(&topic).unwrap(), value);
    assert_eq!(topic.segments().collect::<Vec<_>>().join("/"), text);
    // Every topic is the pattern that means it alone.
    assert!(text.parse::<Pattern>().unwrap().matches(&topic));
    Some(topic)
}

fn read_pattern(text: &str) -> Option<Pattern> {
    let pattern = text.parse::<Pattern>().ok();
    let is_valid = PATTERN.is_valid(&Value::from(text));
    assert_eq!(is_valid, pattern.is_some(), "{text:?}");
    let pattern = pattern?;
    assert_eq!(pattern.to_string(), text);
    Some(pattern)
}
