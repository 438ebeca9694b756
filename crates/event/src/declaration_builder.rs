use serde_json::{Value, json};

use crate::{Declaration, Delivery, EventName, Invalid, JsonObject, Match};

/// Puts a [`Declaration`] together in a program.
///
/// ```
/// use notification_event::{Declaration, Delivery, Match};
/// let incident = Declaration::builder("incident.created")
///     .description("Something broke and somebody has to look")
///     .topic("incidents")
///     .payload_schema(serde_json::json!({
///         "type": "object", "required": ["severity"],
///         "properties": {"severity": {"type": "integer"}},
///     }))
///     .argument("severity", Match::Min)
///     .delivery([Delivery::Push, Delivery::Webhook])
///     .build()
///     .unwrap();
/// assert_eq!(incident.arguments["severity"], Match::Min);
/// let nameless = Declaration::builder("").topic("$server").build().unwrap_err();
/// let fields: Vec<_> = nameless.errors.iter().map(|error| &*error.field).collect();
/// assert_eq!(fields, ["name", "topic"]);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct DeclarationBuilder {
    name: String,
    fields: JsonObject,
}

impl Declaration {
    /// Of the events of this name.
    pub fn builder(name: impl Into<String>) -> DeclarationBuilder {
        DeclarationBuilder {
            name: name.into(),
            fields: JsonObject::new(),
        }
    }
}

impl DeclarationBuilder {
    /// What has happened then.
    pub fn description(self, text: impl Into<String>) -> Self {
        self.with("description", text.into().into())
    }

    /// Where its events go that name no other topic than the default.
    pub fn topic(self, topic: impl Into<String>) -> Self {
        self.with("topic", topic.into().into())
    }

    /// What their `data` has to be: a JSON Schema (draft 2020-12).
    pub fn payload_schema(self, schema: Value) -> Self {
        self.with("payload_schema", schema)
    }

    /// A field of `data` by which a subscription can choose, and how. `host.name` is
    /// the `name` in the object `host`.
    pub fn argument(mut self, field: impl Into<String>, how: Match) -> Self {
        let arguments = self.fields.entry("arguments").or_insert_with(|| json!({}));
        arguments[field.into()] = how.as_str().into();
        self
    }

    /// How they can be delivered: every way, if this is not said.
    pub fn delivery(self, ways: impl IntoIterator<Item = Delivery>) -> Self {
        let ways = ways.into_iter().map(|way| way.as_str().into());
        self.with("delivery", Value::Array(ways.collect()))
    }

    /// The declaration, or every field that makes no sense.
    pub fn build(self) -> Result<Declaration, Invalid> {
        let fields = Value::Object(self.fields);
        let (name, refused) = match self.name.parse::<EventName>() {
            Ok(name) => (name, None),
            Err(error) => {
                let stand_in = "unnamed".parse().expect("an event name");
                (stand_in, Some(Invalid::field("name", error.expected)))
            }
        };
        let declared = Declaration::parse(name, fields);
        let others = declared.as_ref().err().cloned();
        Invalid::collect(refused.into_iter().chain(others))?;
        declared
    }

    fn with(mut self, field: &str, value: Value) -> Self {
        self.fields.insert(field.to_owned(), value);
        self
    }
}
