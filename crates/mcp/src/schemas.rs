use std::str::FromStr;

use notification_event::{ClientId, ParseError, Pattern, TaskState, Topic};
use serde_json::{Value, json};

/// What the event crate takes as an identifier. The lengths are beside it.
const IDENTIFIER: &str = r"^\.*[A-Za-z0-9_:~-][A-Za-z0-9._:~-]*$";
const MAX_IDENTIFIER: usize = 128;

/// What it takes as a topic, apart from the server's own, on which nobody else publishes.
const TOPIC: &str = "^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+){0,7}$";
/// What it takes as a pattern of such topics.
const TOPICS: &str =
    r"^(\*\*|(\*|[A-Za-z0-9._-]+)(/(\*|[A-Za-z0-9._-]+)){0,6}(/(\*\*|\*|[A-Za-z0-9._-]+))?)$";
const MAX_TOPIC: usize = 255;

/// The most names in a list of clients or groups.
const MAX_NAMES: usize = 1_000;

/// What fits one of the patterns here, in the event crate's words.
pub(crate) fn in_words(pattern: &str) -> Option<String> {
    match pattern {
        IDENTIFIER => Some(format!("a string of {}", expected::<ClientId>()?)),
        TOPIC => Some(format!("a string of {}", expected::<Topic>()?)),
        TOPICS => expected::<Pattern>().map(str::to_owned),
        _ => None,
    }
}

fn expected<T: FromStr<Err = ParseError>>() -> Option<&'static str> {
    "".parse::<T>().err().map(|error| error.expected)
}

/// A client id, a task id, a tag, …
pub(crate) fn identifier(description: &str) -> Value {
    string(IDENTIFIER, MAX_IDENTIFIER, description)
}

/// Where to publish.
pub(crate) fn topic(description: &str) -> Value {
    string(TOPIC, MAX_TOPIC, description)
}

/// Which topics to look at.
pub(crate) fn topics(description: &str) -> Value {
    string(TOPICS, MAX_TOPIC, description)
}

fn string(pattern: &str, max_length: usize, description: &str) -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": max_length, "pattern": pattern,
        "description": description
    })
}

/// The clients, or the groups, of an audience. An empty list is refused: as no
/// audience it would be everyone.
pub(crate) fn names(of_each: &str, description: &str) -> Value {
    json!({
        "type": "array", "items": identifier(of_each), "minItems": 1, "maxItems": MAX_NAMES,
        "description": description
    })
}

/// A task, as `TaskStatus` is written.
pub(crate) fn task() -> Value {
    json!({
        "type": "object",
        "description": "A task, as its newest report left it",
        "properties": {
            "task_id": {
                "type": "string",
                "description": "What identifies the task in all its reports"
            },
            "task_name": { "type": "string", "description": "What people call it" },
            "state": {
                "type": "string", "enum": TaskState::ALL.map(TaskState::as_str),
                "description": "running; stalled, if it has not reported for so long that \
                                somebody should look; or how it ended: completed, failed or \
                                cancelled"
            },
            "progress": percent(),
            "step": {
                "type": "integer", "minimum": 0,
                "description": "How many steps are done; absent if it does not report steps"
            },
            "total_steps": {
                "type": "integer", "minimum": 1,
                "description": "How many steps there are; absent if that is not known"
            },
            "message": { "type": "string", "description": "What it said last, for people" },
            "topic": { "type": "string", "description": "Where its reports are published" },
            "started_at": {
                "type": "string", "format": "date-time",
                "description": "When it was first reported"
            },
            "updated_at": {
                "type": "string", "format": "date-time",
                "description": "When it was last reported, or was found to have stalled"
            },
            "cursor": {
                "type": "string",
                "description": "Where its newest report is in the log"
            },
            "event_id": {
                "type": "string",
                "description": "The event of its newest report"
            }
        },
        "required": [
            "task_id", "task_name", "state", "message", "topic", "updated_at", "cursor", "event_id"
        ],
        "additionalProperties": false
    })
}

/// How far a task is.
pub(crate) fn percent() -> Value {
    json!({
        "type": "number", "minimum": 0, "maximum": 100,
        "description": "Percent; absent if that is not known"
    })
}

#[cfg(test)]
mod tests {
    use notification_event::Audience;

    use super::*;

    #[test]
    fn the_schemas_take_what_the_event_crate_takes() {
        let check = |schema: Value, text: &str, parses: bool| {
            let fits = jsonschema::is_valid(&schema, &json!(text));
            assert_eq!(fits, parses, "{text:?}");
        };
        let long = [
            "x".repeat(128),
            "x".repeat(129),
            "x".repeat(255),
            "x".repeat(256),
        ];
        let texts = [
            "",
            "a",
            "A-z.0_9",
            "a:~",
            "a b",
            "a\n",
            "ä",
            "a,b",
            "/",
            "a/",
            "/a",
            "a//b",
            "a/b",
            "a/b/c/d/e/f/g/h",
            "a/b/c/d/e/f/g/h/i",
            "*",
            "**",
            "***",
            "a*",
            "a/*",
            "a/**",
            "**/a",
            "*/**",
            "*/*/*/*/*/*/*/**",
            "*/*/*/*/*/*/*/*/**",
            "a/**/b",
        ];
        for text in texts.into_iter().chain(long.iter().map(String::as_str)) {
            check(identifier(""), text, text.parse::<ClientId>().is_ok());
            check(topic(""), text, text.parse::<Topic>().is_ok());
            check(topics(""), text, text.parse::<Pattern>().is_ok());
        }
        // The server's own: nobody else publishes there, and no tasks are there.
        check(topic(""), "$presence", false);
        check(topics(""), "$receipts/*", false);
    }

    #[test]
    fn an_audience_has_room_for_as_many_names_as_the_schema_says() {
        let check = |count: usize, fits: bool| {
            let clients: Vec<_> = (0..count).map(|n| format!("c{n}")).collect();
            assert_eq!(jsonschema::is_valid(&names("", ""), &json!(clients)), fits);
            let audience = json!({"clients": clients}).as_object().unwrap().clone();
            assert_eq!(Audience::parse(audience).is_ok(), fits);
        };
        check(0, false);
        check(1, true);
        check(MAX_NAMES, true);
        check(MAX_NAMES + 1, false);
    }

    #[test]
    fn each_pattern_has_words() {
        for schema in [identifier(""), topic(""), topics("")] {
            assert!(in_words(schema["pattern"].as_str().unwrap()).is_some());
        }
    }
}
