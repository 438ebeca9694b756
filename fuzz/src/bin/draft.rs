//! Drafts: what is taken is what the schema takes, becomes one line of JSON
//! that is what the schema says is written, and published again as it was
//! written it becomes the same.
#![no_main]

use std::sync::LazyLock;

use jsonschema::Validator;
use libfuzzer_sys::fuzz_target;
use notification_event::{Draft, Event, Timestamp};
use notification_fuzz::validator;
use serde_json::Value;

static DRAFT: LazyLock<Validator> = LazyLock::new(|| validator("Draft"));
static EVENT: LazyLock<Validator> = LazyLock::new(|| validator("Event"));

fuzz_target!(|json: &[u8]| {
    let Ok(value) = serde_json::from_slice::<Value>(json) else {
        return;
    };
    let _ = Draft::parse_batch(value.clone());
    let Ok(draft) = Draft::parse(value.clone()) else {
        return;
    };
    assert!(DRAFT.is_valid(&value), "{value}");

    let audience = draft.audience.clone();
    let now = Timestamp::from_millis(1_700_000_000_000);
    let event = Event::new(draft, now);
    let written = event.clone().encode().json;
    // Whatever ends a line would begin a field of a stream.
    assert!(!written.iter().any(|byte| *byte < b' '));
    let mut value: Value = serde_json::from_slice(&written).unwrap();
    assert!(EVENT.is_valid(&value), "{value}");

    // Without what only the server says, this is a draft again.
    let fields = value.as_object_mut().unwrap();
    for name in ["notification_id", "timestamp", "started_at"] {
        fields.remove(name);
    }
    let mut again = Draft::parse(value).expect("what is written can be published again");
    again.audience = audience;
    let again = Event::new(again, now);
    assert_eq!(again.id, event.id);
    assert_eq!(again.encode().json, written);
});
