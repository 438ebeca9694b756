//! The schemas take what the parsers take, and say what is written.

use jsonschema::Validator;
use notification_event::{
    Audience, ClientId, Cursor, Draft, Event, Filter, Pattern, Report, Status, Timestamp, Topic,
    schema,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn validator(name: &str) -> Validator {
    let mut document = schema::reference(name);
    document["components"] = json!({"schemas": schema::schemas()});
    let options = jsonschema::options().should_validate_formats(true);
    options.build(&document).unwrap()
}

#[test]
fn every_reference_leads_somewhere() {
    for name in schema::schemas().keys() {
        validator(name);
    }
}

#[test]
fn the_words_are_those_that_parse() {
    let topic = validator("Topic");
    let publishable = validator("PublishableTopic");
    let pattern = validator("Pattern");
    let client = validator("ClientId");
    let check = |text: &str| {
        let value = json!(text);
        let parsed = text.parse::<Topic>().ok();
        assert_eq!(topic.is_valid(&value), parsed.is_some(), "{text:?}");
        let is_publishable = parsed.is_some_and(|topic| !topic.is_reserved());
        assert_eq!(publishable.is_valid(&value), is_publishable, "{text:?}");
        let is_pattern = text.parse::<Pattern>().is_ok();
        assert_eq!(pattern.is_valid(&value), is_pattern, "{text:?}");
        let is_client = text.parse::<ClientId>().is_ok();
        assert_eq!(client.is_valid(&value), is_client, "{text:?}");
    };
    for length in [127, 128, 129, 254, 255, 256] {
        check(&"x".repeat(length));
    }
    for segments in [7, 8, 9] {
        check(&vec!["a"; segments].join("/"));
        check(&vec!["*"; segments].join("/"));
        check(&format!("$a/{}", vec!["b:"; segments - 1].join("/")));
        check(&format!("{}/**", vec!["a"; segments - 1].join("/")));
        check(&format!("$a/{}**", "b/".repeat(segments - 2)));
    }
    proptest!(|(text in r"[$]?[aZ0.:~*/\n ä-]{0,8}")| check(&text));
    proptest!(|(text in r"[$]?(a|a:|[*])(/(b|b~|[*]{1,2})){0,3}")| check(&text));
}

#[test]
fn a_cursor_is_told_by_its_form() {
    let schema = validator("Cursor");
    for text in [
        "0123abcd-0",
        "0123abcd-18446744073709551615",
        "0123abcd-01",
        "",
        "7",
        "0123abci-1",
    ] {
        let is_cursor = text.parse::<Cursor>().is_ok();
        assert_eq!(schema.is_valid(&json!(text)), is_cursor, "{text:?}");
    }
}

/// Drafts, right and wrong; what of it only the parser knows is not among them.
fn drafts() -> Vec<Value> {
    let bodies = [
        json!({"type": "notification", "message": "m"}),
        json!({"type": "progress", "task_id": "t", "task_name": "T"}),
        json!({"type": "event", "name": "a.b"}),
    ];
    let more = [
        json!({}),
        json!({"event_id": "e", "topic": "a/b", "title": "t", "require_ack": true}),
        json!({"audience": {"clients": ["a"]}, "tags": ["x", "y"], "data": {"a": [null]}}),
        json!({"audience": {"clients": ["a"], "groups": ["g"]}, "priority": 4}),
        json!({"audience": {"clients": [], "groups": ["g"]}}),
        json!({"priority": "urgent", "expires_in": 60}),
        json!({"priority": 2.0, "expires_in": 60.0}),
        json!({"expires_at": "2024-01-15T10:30:00Z", "collapse_key": "k"}),
        json!({"message": "x".repeat(4_096), "title": "ä".repeat(256)}),
        json!({"notification_type": "error"}),
        json!({"progress": 45.5, "step": 3.0, "total_steps": 8, "state": "failed"}),
        json!({"progress": 100, "step": 0}),
        json!({"data": {}, "tags": []}),
        // Wrong, whatever the type.
        json!({"colour": "red"}),
        json!({"timestamp": "2024-01-15T10:30:00Z"}),
        json!({"topic": "$presence"}),
        json!({"topic": null}),
        json!({"message": ""}),
        json!({"message": "x".repeat(4_097)}),
        json!({"title": "x".repeat(257)}),
        json!({"audience": {}}),
        json!({"audience": {"clients": [], "groups": []}}),
        json!({"audience": {"clients": "a"}}),
        json!({"audience": {"teams": ["a"]}}),
        json!({"tags": vec!["t"; 33]}),
        json!({"tags": "t"}),
        json!({"data": []}),
        json!({"priority": 6}),
        json!({"priority": 1.5}),
        json!({"priority": "loud"}),
        json!({"expires_in": 0}),
        json!({"expires_in": 1, "expires_at": "2024-01-15T10:30:00Z"}),
        json!({"expires_at": "tomorrow"}),
        json!({"require_ack": 1}),
        json!({"type": "status"}),
        json!({"state": "stalled"}),
        json!({"progress": 100.5}),
        json!({"step": -1}),
        json!({"total_steps": 0}),
    ];
    let with = |body: &Value, more: &Value| {
        let mut draft = body.clone();
        let fields = more.as_object().unwrap().clone();
        draft.as_object_mut().unwrap().extend(fields);
        draft
    };
    let all = bodies
        .iter()
        .flat_map(|b| more.iter().map(move |m| with(b, m)));
    let untyped = [json!({}), json!({"message": "m"}), json!([]), json!("m")];
    all.chain(untyped).collect()
}

#[test]
fn the_drafts_are_those_that_parse_and_become_the_events_that_are_promised() {
    let (draft, event) = (validator("Draft"), validator("Event"));
    let mut taken = 0;
    for value in drafts() {
        let parsed = Draft::parse(value.clone());
        assert_eq!(
            draft.is_valid(&value),
            parsed.is_ok(),
            "{value}: {parsed:?}"
        );
        if let Ok(parsed) = parsed {
            taken += 1;
            let now = Timestamp::from_millis(0);
            let json = Event::new(parsed, now).started_at(now).encode().json;
            let json = serde_json::from_slice(&json).unwrap();
            if let Err(error) = event.validate(&json) {
                panic!("{json}: {error}");
            }
        }
    }
    assert!(taken > 20, "{taken}");
}

#[test]
fn the_reports_are_those_that_parse() {
    let schema = validator("Report");
    for value in [
        json!({}),
        json!({"task_name": "T", "step": 1, "total_steps": 2.0, "topic": "a"}),
        json!({"progress": 10, "message": "m", "state": "cancelled", "data": {}}),
        json!({"audience": {"groups": ["g"]}}),
        json!({"task_id": "t"}),
        json!({"task_name": ""}),
        json!({"state": "stalled"}),
        json!({"topic": "$a"}),
        json!([]),
    ] {
        let parses = Report::parse(value.clone()).is_ok();
        assert_eq!(schema.is_valid(&value), parses, "{value}");
    }
}

#[test]
fn an_audience_has_room_for_as_many_names_as_the_schema_says() {
    let schema = validator("Audience");
    for count in [0, 1, 1_000, 1_001] {
        let clients: Vec<_> = (0..count).map(|n| format!("c{n}")).collect();
        let audience = json!({"clients": clients});
        let parses = Audience::parse(audience.as_object().unwrap().clone()).is_ok();
        assert_eq!(schema.is_valid(&audience), parses, "{count}");
    }
}

#[test]
fn what_is_written_is_what_is_promised() {
    let check = |name: &str, json: Value| {
        if let Err(error) = validator(name).validate(&json) {
            panic!("{name} {json}: {error}");
        }
    };
    check("Filter", json!({}));
    let full = json!({"topics": ["ops/**"], "types": ["event"], "names": ["a.b"],
                      "min_priority": 4, "tags": ["x"]});
    let full = Filter::parse(full.as_object().unwrap().clone()).unwrap();
    check("Filter", full.to_json().into());
    let cursor = "0123abcd-7".parse().unwrap();
    for status in [
        Status::Connected {
            connection_id: "c".into(),
            client_count: 1,
            narrowed_to: None,
        },
        Status::Connected {
            connection_id: "c".into(),
            client_count: 1,
            narrowed_to: Some(vec!["ops/**".parse().unwrap()]),
        },
        Status::CredentialExpiring {
            expires_at: Timestamp::from_millis(0),
        },
        Status::Unauthorized { reason: "r".into() },
        Status::Gap {
            cursor,
            reason: notification_event::GapReason::Epoch,
        },
        Status::SnapshotComplete { events: 0 },
        Status::Conflated { events: 2 },
        Status::Paused {
            max_unacknowledged: 3,
        },
        Status::Closing { reason: "over" },
    ] {
        let json = status.to_json(Timestamp::from_millis(0));
        check("Status", serde_json::from_str(&json).unwrap());
    }
    let refusal = Draft::parse(json!({})).unwrap_err();
    check("FieldError", json!(refusal.errors[0]));
}
