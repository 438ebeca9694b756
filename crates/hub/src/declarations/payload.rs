use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use notification_event::{Invalid, JsonObject};
use serde_json::Value;

/// How many places a refusal names at most.
const NAMED: usize = 20;

/// The longest that is repeated of what a schema or an error says, in characters.
const MAX_TEXT: usize = 200;

/// What the `data` of events has to be: a JSON Schema, compiled once.
#[derive(Debug)]
pub(super) struct Payload(Validator);

impl Payload {
    /// Compiles a schema, or says what is wrong with it. It refers to nothing but
    /// itself, and its patterns take time in proportion to what they are held against.
    pub(super) fn compile(schema: &JsonObject) -> Result<Self, Invalid> {
        let schema = Value::Object(schema.clone());
        let misfit = |error: &ValidationError<'_>| {
            let reason = shorten(&error.to_string());
            let expected =
                format!("a JSON Schema (draft 2020-12) that refers to nothing else: {reason}");
            Invalid::field("payload_schema", expected)
        };
        let options = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::regex());
        let validator = options.build(&schema).map_err(|error| misfit(&error))?;
        Ok(Self(validator))
    }

    /// Whether `data` fits, or else where it does not.
    pub(super) fn check(&self, data: &JsonObject) -> Result<(), Invalid> {
        let data = Value::Object(data.clone());
        if self.0.is_valid(&data) {
            return Ok(());
        }
        let errors = self.0.iter_errors(&data).take(NAMED);
        Invalid::collect(errors.map(|error| refusal(&error)))
    }
}

fn refusal(error: &ValidationError<'_>) -> Invalid {
    let place = place(error.instance_path().as_str());
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let property = property.as_str().unwrap_or_default();
            let expected = "this field, which the event type requires";
            Invalid::field(format!("{place}.{property}"), expected)
        }
        _ => {
            let reason = shorten(&error.masked().to_string());
            Invalid::field(place, format!("what the event type declares: {reason}"))
        }
    }
}

/// A JSON Pointer into `data` as publishers are told of a place: `data.hosts[1].name`.
fn place(pointer: &str) -> String {
    let segments = pointer.split('/').skip(1);
    segments.fold("data".to_owned(), |place, segment| {
        match segment.bytes().all(|byte| byte.is_ascii_digit()) {
            true => format!("{place}[{segment}]"),
            false => format!("{place}.{}", segment.replace("~1", "/").replace("~0", "~")),
        }
    })
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
