//! Cursors: what is taken has one spelling, which is what the schema takes.
#![no_main]

use std::sync::LazyLock;

use jsonschema::Validator;
use libfuzzer_sys::fuzz_target;
use notification_event::{Cursor, Epoch};
use notification_fuzz::validator;
use serde_json::Value;

static CURSOR: LazyLock<Validator> = LazyLock::new(|| validator("Cursor"));

fuzz_target!(|text: &str| {
    let cursor = text.parse::<Cursor>().ok();
    let value = Value::from(text);
    // A schema cannot say where the numbers end.
    let fits = text.rsplit('-').next().unwrap().parse::<u64>().is_ok();
    let is_valid = CURSOR.is_valid(&value) && fits;
    assert_eq!(is_valid, cursor.is_some(), "{text:?}");
    let Some(cursor) = cursor else {
        return;
    };
    assert_eq!(cursor.to_string(), text);
    assert_eq!(serde_json::to_value(cursor).unwrap(), value);
    assert_eq!(
        cursor.epoch.as_str().parse::<Epoch>().unwrap(),
        cursor.epoch
    );
});
