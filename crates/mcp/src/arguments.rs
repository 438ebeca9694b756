use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, ValidationError, Validator};
use notification_event::{FieldError, Invalid, JsonObject};
use serde_json::Value;

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
            Value::Object(arguments) if errors.is_empty() => Ok(arguments),
            _ => Err(Invalid { errors, unnamed: 0 }),
        }
    }

    fn refusals(&self, error: &ValidationError<'_>) -> Vec<FieldError> {
        let path = error.instance_path().as_str();
        let field = path.trim_start_matches('/');
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let unexpected = unexpected.iter().take(NAMED);
                unexpected.map(|name| self.unknown(name)).collect()
            }
            // Where there are no properties at all, any is against `false`.
            ValidationErrorKind::FalseSchema => vec![self.unknown(field)],
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let expected = format!("{}, which is required", describe(self.property(name)));
                vec![refuse(name, expected)]
            }
            _ => {
                let expected = describe(self.property(field));
                let got = show(error.instance());
                vec![refuse(field, format!("{expected}, got {got}"))]
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
}

fn refuse(field: &str, expected: String) -> FieldError {
    FieldError {
        field: field.to_owned(),
        expected,
    }
}

/// What fits the schema of one property, in words.
fn describe(schema: &Value) -> String {
    let range = |min: &str, max: &str| {
        let (min, max) = (schema.get(min)?, schema.get(max)?);
        Some(format!("{min} to {max}"))
    };
    if let Some(options) = schema["enum"].as_array() {
        let options: Vec<_> = options.iter().filter_map(Value::as_str).collect();
        return format!("one of {}", options.join(", "));
    }
    let kind = schema["type"].as_str().unwrap_or("value");
    let article = if kind.starts_with(['i', 'o']) {
        "an"
    } else {
        "a"
    };
    if let Some(range) = range("minLength", "maxLength") {
        format!("{article} {kind} of {range} characters")
    } else if let Some(range) = range("minimum", "maximum") {
        format!("{article} {kind} from {range}")
    } else {
        format!("{article} {kind}")
    }
}

/// The value that was sent, or what it is if it is long.
fn show(sent: &Value) -> String {
    match sent {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "an array".to_owned(),
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
                "flag": { "type": "boolean" }
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
        check(json!({"name": "ä", "seconds": 1.5, "count": 2.0}), "");
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
            "data: expected an object, got an array",
        );
        check(
            json!({"name": "a", "flag": null}),
            "flag: expected a boolean, got null",
        );
        check(
            json!({"name": "a", "colour": 1}),
            "colour: expected no such argument; known are name, seconds, count, kind, data, flag",
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
