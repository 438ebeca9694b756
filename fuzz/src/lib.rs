//! What fuzz targets share.

use jsonschema::Validator;
use notification_event::schema;
use serde_json::json;

/// The schema of that name, to compare with what a parser takes and a writer writes.
pub fn validator(name: &str) -> Validator {
    let mut document = schema::reference(name);
    document["components"] = json!({"schemas": schema::schemas()});
    jsonschema::validator_for(&document).expect("our schemas are schemas")
}
