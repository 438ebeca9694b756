use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, ValidationError, Validator};
use notification_event::{FieldError, Invalid, JsonObject};
use serde_json::Value;

use crate::schemas::in_words;
use crate::shorten::shorten;

/// How many fields a refusal names at most: a body has room for a hundred
/// thousand unknown ones.
const NAMED: usize = 10;

/// The arguments that a tool takes: a JSON Schema (draft 2020-12) of an object
/// and its properties, compiled once.
pub(crate) struct Arguments {
    schema: Value,
    validator: Validator,
}

impl Arguments {
    /// # Panics
    /// If `schema` is not a JSON Schema.
    pub(crate) fn new(schema: &JsonObject) -> Self {
        let schema = Value::Object(schema.clone());
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .build(&schema)
            .unwrap_or_else(|error| panic!("not a JSON Schema: {error}"));
        Self { schema, validator }
    }

    /// Gives `arguments` back if they fit, or says which do not and why.
    ///
    /// To JSON Schema 5.0 is an integer (section 6.1.1); it comes back as 5.
    pub(crate) fn check(&self, arguments: JsonObject) -> Result<JsonObject, Invalid> {
        let arguments = Value::Object(arguments);
        let errors = self.validator.iter_errors(&arguments);
        let mut errors: Vec<_> = errors
            .flat_map(|error| self.refusals(&error))
            .take(NAMED)
            .collect();
        // A value of the wrong type is not one of an enum either.
        errors.dedup_by(|a, b| a.field == b.field);
        match arguments {
            Value::Object(arguments) if errors.is_empty() => {
                Ok(self.with_whole_integers(arguments))
            }
            _ => Err(Invalid { errors, unnamed: 0 }),
        }
    }

    fn with_whole_integers(&self, mut arguments: JsonObject) -> JsonObject {
        for (name, value) in &mut arguments {
            let written_as_float = value.as_f64().filter(|_| value.is_f64());
            if let Some(number) = written_as_float
                && self.property(name)["type"] == "integer"
            {
                *value = Value::from(number as i64);
            }
        }
        arguments
    }

    fn refusals(&self, error: &ValidationError<'_>) -> Vec<FieldError> {
        let field = place(error.instance_path().as_str());
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let unexpected = unexpected.iter().take(NAMED);
                unexpected.map(|name| self.unknown(name)).collect()
            }
            // Where there are no properties at all, any is against `false`.
            ValidationErrorKind::FalseSchema => vec![self.unknown(&field)],
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let expected = format!("{}, which is required", describe(self.property(name)));
                vec![refuse(name, expected)]
            }
            _ => {
                let expected = describe(self.part(error.schema_path().as_str()));
                let got = show(error.instance());
                vec![refuse(&field, format!("{expected}, got {got}"))]
            }
        }
    }

    fn unknown(&self, name: &str) -> FieldError {
        let known = self.schema["properties"].as_object().into_iter().flatten();
        let known: Vec<_> = known.map(|(name, _)| name.as_str()).collect();
        let expected = match known.is_empty() {
            true => "no arguments at all".to_owned(),
            false => format!("no such argument; known are {}", known.join(", ")),
        };
        refuse(&shorten(name), expected)
    }

    fn property(&self, name: &str) -> &Value {
        &self.schema["properties"][name]
    }

    /// The part of the schema that the keyword at `path` stands in.
    fn part(&self, path: &str) -> &Value {
        let part = path.rsplit_once('/').map_or("", |(part, _)| part);
        self.schema.pointer(part).unwrap_or(&Value::Null)
    }
}

/// A JSON Pointer as publishers are told of a place: `tags[1]` for `/tags/1`.
fn place(pointer: &str) -> String {
    let mut segments = pointer.split('/').skip(1);
    let name = segments.next().unwrap_or_default().to_owned();
    segments.fold(name, |place, index| format!("{place}[{index}]"))
}

fn refuse(field: &str, expected: String) -> FieldError {
    FieldError {
        field: field.to_owned(),
        expected,
    }
}

/// What fits a schema, in words.
fn describe(schema: &Value) -> String {
    if let Some(options) = schema["enum"].as_array() {
        let options: Vec<_> = options.iter().filter_map(Value::as_str).collect();
        return format!("one of {}", options.join(", "));
    }
    if let Some(words) = schema["pattern"].as_str().and_then(in_words) {
        return words;
    }
    let range = |min: &str, max: &str| match (schema.get(min), schema.get(max)) {
        (Some(min), Some(max)) => Some(format!("{min} to {max}")),
        (None, Some(max)) => Some(format!("up to {max}")),
        (_, None) => None,
    };
    match schema["type"].as_str().unwrap_or("value") {
        "boolean" => "true or false".to_owned(),
        "array" => {
            let length = range("minItems", "maxItems").unwrap_or_else(|| "any number".to_owned());
            format!("an array of {length}, each {}", describe(&schema["items"]))
        }
        kind => {
            let noun = match kind.starts_with(['i', 'o']) {
                true => format!("an {kind}"),
                false => format!("a {kind}"),
            };
            if let Some(range) = range("minLength", "maxLength") {
                format!("{noun} of {range} characters")
            } else if let Some(range) = range("minimum", "maximum") {
                format!("{noun} from {range}")
            } else {
                noun
            }
        }
    }
}

/// The value that was sent, or what it is if it is long.
fn show(sent: &Value) -> String {
    match sent {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(elements) => format!("an array of {}", elements.len()),
        Value::String(text) if shorten(text) != *text => {
            format!("a string of {} characters", text.chars().count())
        }
        sent => sent.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schemas::identifier;

    #[test]
    fn an_integer_is_whole_however_it_was_written() {
        let schema = json!({
            "type": "object",
            "properties": { "count": { "type": "integer" }, "seconds": { "type": "number" } }
        });
        let arguments = Arguments::new(schema.as_object().unwrap());
        let sent = json!({"count": 5.0, "seconds": 5.0});
        let checked = arguments.check(sent.as_object().unwrap().clone()).unwrap();
        assert_eq!(
            Value::Object(checked).to_string(),
            r#"{"count":5,"seconds":5.0}"#
        );
    }

    #[test]
    fn each_refusal_names_the_field_what_was_expected_and_what_was_sent() {
        let schema = json!({
            "type": "object",
            "properties": {
                "name": { "type": "string", "minLength": 1, "maxLength": 100 },
                "seconds": { "type": "number", "minimum": 1, "maximum": 60 },
                "count": { "type": "integer", "minimum": 1, "maximum": 20 },
                "kind": { "type": "string", "enum": ["info", "error"] },
                "data": { "type": "object" },
                "flag": { "type": "boolean" },
                "clients": { "type": "array", "items": identifier("Who"), "minItems": 1, "maxItems": 2 },
                "notes": {
                    "type": "array", "maxItems": 3,
                    "items": { "type": "string", "minLength": 1, "maxLength": 5 }
                }
            },
            "required": ["name"],
            "additionalProperties": false
        });
        let arguments = Arguments::new(schema.as_object().unwrap());
        let check = |sent: Value, expected: &str| {
            let checked = arguments.check(sent.as_object().unwrap().clone());
            let refusal = checked.map_or_else(|invalid| invalid.to_string(), |_| String::new());
            assert_eq!(refusal, expected, "{sent}");
        };
        check(
            json!({"name": "ä", "seconds": 1.5, "count": 2.0, "flag": true, "clients": ["a"], "notes": []}),
            "",
        );
        check(
            json!({}),
            "name: expected a string of 1 to 100 characters, which is required",
        );
        check(
            json!({"name": ""}),
            "name: expected a string of 1 to 100 characters, got \"\"",
        );
        check(
            json!({"name": "ä".repeat(101)}),
            "name: expected a string of 1 to 100 characters, got a string of 101 characters",
        );
        check(
            json!({"name": "a", "seconds": 70}),
            "seconds: expected a number from 1 to 60, got 70",
        );
        check(
            json!({"name": "a", "count": 1.5}),
            "count: expected an integer from 1 to 20, got 1.5",
        );
        check(
            json!({"name": "a", "kind": 5}),
            "kind: expected one of info, error, got 5",
        );
        check(
            json!({"name": "a", "data": []}),
            "data: expected an object, got an array of 0",
        );
        check(
            json!({"name": "a", "flag": null}),
            "flag: expected true or false, got null",
        );
        let clients = "1 to 128 of the characters A-Z a-z 0-9 . _ : ~ -, not only dots";
        check(
            json!({"name": "a", "clients": "alice"}),
            &format!(
                "clients: expected an array of 1 to 2, each a string of {clients}, got \"alice\""
            ),
        );
        check(
            json!({"name": "a", "clients": []}),
            &format!(
                "clients: expected an array of 1 to 2, each a string of {clients}, got an array of 0"
            ),
        );
        check(
            json!({"name": "a", "clients": ["alice", "b c"]}),
            &format!("clients[1]: expected a string of {clients}, got \"b c\""),
        );
        check(
            json!({"name": "a", "clients": ["", null]}),
            &format!(
                "clients[0]: expected a string of {clients}, got \"\"; \
                 clients[1]: expected a string of {clients}, got null"
            ),
        );
        check(
            json!({"name": "a", "notes": ["a", "b", "c", "d"]}),
            "notes: expected an array of up to 3, each a string of 1 to 5 characters, got an array of 4",
        );
        check(
            json!({"name": "a", "notes": ["a", {}]}),
            "notes[1]: expected a string of 1 to 5 characters, got an object",
        );
        check(
            json!({"name": "a", "colour": 1}),
            "colour: expected no such argument; known are \
             name, seconds, count, kind, data, flag, clients, notes",
        );
    }

    #[test]
    fn everything_that_is_wrong_is_told_but_not_endlessly() {
        let schema = json!({
            "type": "object",
            "properties": { "name": { "type": "string" } },
            "required": ["name"],
            "additionalProperties": false
        });
        let arguments = Arguments::new(schema.as_object().unwrap());
        let few = json!({"a": 1, "b": 2}).as_object().unwrap().clone();
        assert_eq!(arguments.check(few).unwrap_err().errors.len(), 3);
        let many = (0..1_000).map(|i| (i.to_string(), json!(i))).collect();
        assert_eq!(arguments.check(many).unwrap_err().errors.len(), NAMED);
    }
}
