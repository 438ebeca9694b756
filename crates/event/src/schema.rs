//! JSON Schemas (2020-12) of the vocabulary, for documents that describe the
//! server. Each stands beside the parser or writer that it describes; here are
//! their names, by which they refer to each other.
//!
//! What a schema cannot say is left to the parser: rules between fields, and
//! sizes in bytes.

use serde_json::{Value, json};

use crate::{
    Audience, ClientId, CollapseKey, Cursor, Declaration, Draft, Event, EventId, EventName,
    EventType, FieldError, Filter, GroupName, JsonObject, NotificationType, Pattern, Priority,
    Report, Status, Tag, TaskId, TaskState, Timestamp, Topic,
};

/// Every schema, by its name.
pub fn schemas() -> JsonObject {
    let identifiers = [
        ("EventId", EventId::schema()),
        ("TaskId", TaskId::schema()),
        ("ClientId", ClientId::schema()),
        ("EventName", EventName::schema()),
        ("GroupName", GroupName::schema()),
        ("Tag", Tag::schema()),
        ("CollapseKey", CollapseKey::schema()),
    ];
    let words = [
        ("Topic", Topic::schema()),
        ("PublishableTopic", Topic::publishable_schema()),
        ("Pattern", Pattern::schema()),
        ("Cursor", Cursor::schema()),
        ("Timestamp", Timestamp::schema()),
        ("Priority", Priority::schema()),
        ("EventType", EventType::schema()),
        ("NotificationType", NotificationType::schema()),
        ("TaskState", TaskState::schema()),
    ];
    let objects = [
        ("Audience", Audience::schema()),
        ("Filter", Filter::schema()),
        ("Report", Report::schema()),
        ("Status", Status::schema()),
        ("FieldError", FieldError::schema()),
        ("EventTypeDeclaration", Declaration::schema()),
    ];
    let all = identifiers.into_iter().chain(words).chain(objects);
    let all = all.chain(Draft::schemas()).chain(Event::schemas());
    all.map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

/// The schema of that name, from within another: where an OpenAPI document keeps it.
pub fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// Of an object that has these fields, each with its schema, and no others.
///
/// # Panics
///
/// If `properties` is not an object.
pub fn object(properties: Value, required: &[&str]) -> Value {
    assert!(properties.is_object(), "fields have names");
    let mut object = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        object["required"] = required.into();
    }
    object["additionalProperties"] = false.into();
    object
}

/// Of an object that has all of these fields, and no others.
///
/// # Panics
///
/// If `properties` is not an object.
pub fn all_of(properties: Value) -> Value {
    let names = properties.as_object().into_iter().flat_map(|p| p.keys());
    let names: Vec<_> = names.cloned().collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    object(properties, &names)
}

/// The fields of two objects.
pub fn and(mut fields: Value, more: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
        fields.extend(more);
    }
    fields
}

/// Of one of several objects, which are told apart by the value of one field.
pub(crate) fn told_apart(by: &str, variants: &[(&str, &str)]) -> Value {
    let of: Vec<_> = variants.iter().map(|(_, name)| reference(name)).collect();
    let mapping: JsonObject = variants
        .iter()
        .map(|(value, name)| ((*value).to_owned(), reference(name)["$ref"].clone()))
        .collect();
    json!({"oneOf": of, "discriminator": {"propertyName": by, "mapping": mapping}})
}

/// Of a string by its length in characters.
pub(crate) fn text(min: usize, max: usize) -> Value {
    json!({"type": "string", "minLength": min, "maxLength": max})
}

/// Of a whole number.
pub(crate) fn integer(min: u64, max: u64) -> Value {
    json!({"type": "integer", "minimum": min, "maximum": max})
}

/// Of a string that is one of these words.
pub(crate) fn one_of(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

/// The same, and what it means.
pub fn described(mut schema: Value, description: &str) -> Value {
    schema["description"] = description.into();
    schema
}
