use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::fields::{Fields, array, object, object_of_at_most, text};
use crate::report::publishable_topic;
use crate::schema::{self, described, one_of, reference};
use crate::{EventName, Invalid, JsonObject, ParseError, Topic};

/// What an application says of its own events of one name: an event type that
/// can be subscribed to by its name, with arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// The name of the events.
    pub name: EventName,
    /// What has happened then, for people and models: at most 4096 characters.
    pub description: Option<String>,
    /// Where events of this name go that name no other topic than the default.
    pub topic: Option<Topic>,
    /// What their `data` has to be: a JSON Schema (draft 2020-12) of an object.
    pub payload_schema: Option<JsonObject>,
    /// By which fields of `data` a subscription can choose, and how.
    pub arguments: BTreeMap<String, Match>,
    /// How they can be delivered: at least one way, each once, in order.
    pub delivery: Vec<Delivery>,
}

/// How an argument chooses by a field of `data`. What is not there is not chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// It is the same.
    Equals,
    /// It is a string in which `*` stands for any characters, and `?` for one.
    Glob,
    /// It is a string that begins so.
    Prefix,
    /// It is a number, and no less.
    Min,
    /// It is one of several.
    OneOf,
}

/// A way of delivering the events that a subscription chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delivery {
    /// Whoever wants them asks for them.
    Poll,
    /// They come on an open stream.
    Push,
    /// They are posted to an address.
    Webhook,
}

/// Which of the events of a name a subscription chooses, by its arguments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector(Vec<(String, Match, Value)>);

impl Match {
    const ALL: [Self; 5] = [
        Self::Equals,
        Self::Glob,
        Self::Prefix,
        Self::Min,
        Self::OneOf,
    ];

    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equals => "equals",
            Self::Glob => "glob",
            Self::Prefix => "prefix",
            Self::Min => "min",
            Self::OneOf => "one_of",
        }
    }

    /// The schema of an argument, for a field of this schema.
    fn argument_schema(self, field: &Value) -> Value {
        match self {
            Self::Equals => match field.is_null() {
                true => json!({"type": ["string", "number", "boolean", "null"]}),
                false => field.clone(),
            },
            Self::Glob => json!({
                "type": "string", "minLength": 1, "maxLength": MAX_TEXT,
                "description": "* stands for any characters, ? for one",
            }),
            Self::Prefix => json!({
                "type": "string", "minLength": 1, "maxLength": MAX_TEXT,
                "description": "How it begins",
            }),
            Self::Min => json!({"type": "number", "description": "The least"}),
            Self::OneOf => {
                let items = Self::Equals.argument_schema(field);
                json!({"type": "array", "items": items, "minItems": 1, "maxItems": MAX_CHOICES})
            }
        }
    }

    /// What an argument has to be.
    fn check(self, argument: &Value) -> Result<(), Invalid> {
        let is_scalar = |value: &Value| {
            !value.is_array()
                && !value.is_object()
                && value.as_str().is_none_or(|text| text.len() <= MAX_TEXT)
        };
        let (fits, expected) = match self {
            Self::Equals => (
                is_scalar(argument),
                "a string, a number, true, false or null",
            ),
            Self::Glob | Self::Prefix => {
                let text = argument.as_str();
                let fits = text.is_some_and(|text| !text.is_empty() && text.len() <= MAX_TEXT);
                (fits, "a string of 1 to 256 bytes")
            }
            Self::Min => (argument.is_number(), "a number"),
            Self::OneOf => {
                let choices = argument.as_array();
                let fits = choices.is_some_and(|choices| {
                    (1..=MAX_CHOICES).contains(&choices.len()) && choices.iter().all(is_scalar)
                });
                (
                    fits,
                    "an array of 1 to 100 strings, numbers, true, false or null",
                )
            }
        };
        match fits {
            true => Ok(()),
            false => Err(Invalid::value(expected)),
        }
    }

    fn selects(self, argument: &Value, field: &Value) -> bool {
        match self {
            Self::Equals => same(argument, field),
            Self::Glob => match (argument.as_str(), field.as_str()) {
                (Some(pattern), Some(text)) => glob(pattern.as_bytes(), text.as_bytes()),
                _ => false,
            },
            Self::Prefix => match (argument.as_str(), field.as_str()) {
                (Some(prefix), Some(text)) => text.starts_with(prefix),
                _ => false,
            },
            Self::Min => match (argument.as_f64(), field.as_f64()) {
                (Some(least), Some(number)) => number >= least,
                _ => false,
            },
            Self::OneOf => {
                let mut choices = argument.as_array().into_iter().flatten();
                choices.any(|choice| same(choice, field))
            }
        }
    }
}

/// Numbers by their value: 1 is 1.0.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
        _ => a == b,
    }
}

/// Whether `text` is one that `pattern` stands for. Looks at each character of
/// the text a bounded number of times for each `*`.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut star) = ((0, 0), None);
    while at.1 < text.len() {
        match pattern.get(at.0) {
            Some(b'*') => {
                star = Some(at);
                at.0 += 1;
            }
            // One character, however many bytes it has in UTF-8.
            Some(b'?') => at = (at.0 + 1, at.1 + character(&text[at.1..])),
            Some(byte) if *byte == text[at.1] => at = (at.0 + 1, at.1 + 1),
            _ => {
                let Some((after, taken)) = star else {
                    return false;
                };
                let taken = taken + character(&text[taken..]);
                star = Some((after, taken));
                at = (after + 1, taken);
            }
        }
    }
    pattern[at.0..].iter().all(|byte| *byte == b'*')
}

/// How many bytes the first character has (RFC 3629, section 3).
fn character(text: &[u8]) -> usize {
    let rest = text.iter().skip(1);
    1 + rest.take_while(|byte| **byte & 0xC0 == 0x80).count()
}

impl FromStr for Match {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let named = Self::ALL.into_iter().find(|it| it.as_str() == text);
        named.ok_or(ParseError {
            what: "way of choosing",
            expected: "equals, glob, prefix, min or one_of",
        })
    }
}

impl Delivery {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Poll, Self::Push, Self::Webhook];

    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Push => "push",
            Self::Webhook => "webhook",
        }
    }
}

impl FromStr for Delivery {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let named = Self::ALL.into_iter().find(|it| it.as_str() == text);
        named.ok_or(ParseError {
            what: "way of delivery",
            expected: "poll, push or webhook",
        })
    }
}

/// The longest string of an argument, in bytes.
const MAX_TEXT: usize = 256;

/// The most choices of an argument.
const MAX_CHOICES: usize = 100;

impl Declaration {
    /// The longest description, in characters.
    pub const MAX_DESCRIPTION: usize = 4096;
    /// The largest schema, in bytes of JSON.
    pub const MAX_SCHEMA: usize = 64 * 1024;
    /// The most arguments.
    pub const MAX_ARGUMENTS: usize = 32;

    /// Reads `{"description"?, "topic"?, "payload_schema"?, "arguments"?, "delivery"?}`
    /// of the events of this name. Whether the schema is one is not looked at.
    pub fn parse(name: EventName, value: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::new(object(value)?);
        let declaration = Self {
            name,
            description: fields.optional("description", text(1..=Self::MAX_DESCRIPTION)),
            topic: fields.optional("topic", publishable_topic),
            payload_schema: fields.optional("payload_schema", object_of_at_most(Self::MAX_SCHEMA)),
            arguments: fields.optional("arguments", arguments).unwrap_or_default(),
            delivery: match fields.optional("delivery", delivery) {
                Some(delivery) => delivery,
                None => Delivery::ALL.to_vec(),
            },
        };
        fields.finish()?;
        Ok(declaration)
    }

    /// The JSON Schema of what [`Declaration::parse`] reads.
    pub fn schema() -> Value {
        let matches = one_of(&Match::ALL.map(Match::as_str));
        let ways = one_of(&Delivery::ALL.map(Delivery::as_str));
        schema::object(
            json!({
                "description": schema::text(1, Self::MAX_DESCRIPTION),
                "topic": described(
                    reference("PublishableTopic"),
                    "Where events of this name go that name no other than the default",
                ),
                "payload_schema": {
                    "description": "What their data has to be: a JSON Schema (2020-12) of an object",
                    "type": "object",
                },
                "arguments": {
                    "description": "By which fields of data a subscription can choose, and how; a dot leads into an object",
                    "type": "object", "maxProperties": Self::MAX_ARGUMENTS,
                    "propertyNames": {
                        "pattern": r"^[^.]+(\.[^.]+)*$", "maxLength": MAX_FIELD,
                    },
                    "additionalProperties": matches,
                },
                "delivery": {
                    "type": "array", "items": ways, "minItems": 1, "uniqueItems": true,
                    "description": "All of them, if absent",
                },
            }),
            &[],
        )
    }

    /// Its fields, as [`Declaration::parse`] reads them.
    pub fn to_json(&self) -> JsonObject {
        let mut json = JsonObject::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                json.insert(name.to_owned(), value);
            }
        };
        put("description", self.description.clone().map(Value::from));
        put("topic", self.topic.as_ref().map(|t| t.as_str().into()));
        put(
            "payload_schema",
            self.payload_schema.clone().map(Value::Object),
        );
        let arguments = self.arguments.iter();
        let arguments = arguments.map(|(field, how)| (field.clone(), how.as_str().into()));
        put("arguments", Some(Value::Object(arguments.collect())));
        let delivery = self.delivery.iter().map(|way| Value::from(way.as_str()));
        put("delivery", Some(delivery.collect()));
        json
    }

    /// The JSON Schema of the arguments of a subscription.
    pub fn input_schema(&self) -> JsonObject {
        let arguments = self.arguments.iter().map(|(field, how)| {
            let schema = self.field_schema(field);
            (field.clone(), how.argument_schema(schema))
        });
        let properties: JsonObject = arguments.collect();
        let schema = json!({
            "type": "object", "properties": properties, "additionalProperties": false,
        });
        match schema {
            Value::Object(schema) => schema,
            _ => unreachable!("an object was written"),
        }
    }

    /// What the payload's schema says of a field.
    fn field_schema(&self, field: &str) -> &Value {
        const NOTHING: &Value = &Value::Null;
        let mut segments = field.split('.');
        let first = segments.next().unwrap_or_default();
        let properties = self
            .payload_schema
            .as_ref()
            .and_then(|s| s.get("properties"));
        let schema = properties.and_then(|properties| properties.get(first));
        segments.fold(schema.unwrap_or(NOTHING), |schema, segment| {
            &schema["properties"][segment]
        })
    }

    /// Reads the arguments of a subscription; what is absent does not choose.
    pub fn selector(&self, arguments: JsonObject) -> Result<Selector, Invalid> {
        let mut refusals = Vec::new();
        let mut chosen = Vec::new();
        for (name, argument) in arguments {
            match self.arguments.get(&name) {
                Some(how) => match how.check(&argument) {
                    Ok(()) => chosen.push((name, *how, argument)),
                    Err(invalid) => refusals.push(Invalid::collect([invalid.within(&name)])),
                },
                None => {
                    let known: Vec<_> = self.arguments.keys().map(String::as_str).collect();
                    let expected = match known.is_empty() {
                        true => "no arguments at all".to_owned(),
                        false => format!("no such argument; known are {}", known.join(", ")),
                    };
                    refusals.push(Err(Invalid::field(name, expected)));
                }
            }
        }
        Invalid::collect(refusals.into_iter().filter_map(Result::err))?;
        chosen.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Selector(chosen))
    }

    /// Why those who subscribed to this would not know what to do with `next`; none
    /// if it only adds to it.
    pub fn breaks(&self, next: &Self) -> Option<Breaking> {
        let keeps_arguments = self.arguments.iter().all(|(field, how)| {
            let same_schema = bare(self.field_schema(field)) == bare(next.field_schema(field));
            next.arguments.get(field) == Some(how) && same_schema
        });
        let keeps_delivery = self.delivery.iter().all(|way| next.delivery.contains(way));
        let nothing = JsonObject::new();
        let schemas = [self, next].map(|it| it.payload_schema.as_ref().unwrap_or(&nothing));
        match () {
            () if !adds_to(schemas[0], schemas[1]) => Some(Breaking::Payload),
            () if !keeps_arguments => Some(Breaking::Arguments),
            () if !keeps_delivery => Some(Breaking::Delivery),
            () => None,
        }
    }
}

/// What those who subscribed relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaking {
    /// What is in `data`.
    Payload,
    /// By what they chose.
    Arguments,
    /// How they got it.
    Delivery,
}

/// What of a schema says nothing of values (JSON Schema Validation, section 9).
const ANNOTATIONS: [&str; 8] = [
    "title",
    "description",
    "default",
    "deprecated",
    "examples",
    "$comment",
    "$id",
    "$schema",
];

/// A schema without them.
fn bare(schema: &Value) -> Value {
    match schema {
        Value::Object(words) => {
            let words = words.iter();
            let words = words.filter(|(word, _)| !ANNOTATIONS.contains(&word.as_str()));
            let words = words.map(|(word, value)| (word.clone(), bare(value)));
            words.collect()
        }
        other => other.clone(),
    }
}

/// Whether whatever fits `next` is what those expect who know `schema`: all that is
/// said in it is said still, of objects and what is in them, and more may be.
fn adds_to(schema: &JsonObject, next: &JsonObject) -> bool {
    const NESTED: [&str; 3] = ["properties", "required", "additionalProperties"];
    let says = |schema: &JsonObject| {
        let words = schema.iter().filter(|(word, _)| {
            !ANNOTATIONS.contains(&word.as_str()) && !NESTED.contains(&word.as_str())
        });
        let words: BTreeMap<_, _> = words
            .map(|(word, value)| (word.clone(), value.clone()))
            .collect();
        words
    };
    let (before, after) = (says(schema), says(next));
    // Nothing was said, so nothing was relied on.
    let keeps_words = before.is_empty() || before == after;
    let required = |schema: &JsonObject| -> Vec<Value> {
        let required = schema.get("required").and_then(Value::as_array);
        required.cloned().unwrap_or_default()
    };
    let still = required(next);
    let keeps_required = required(schema).iter().all(|name| still.contains(name));
    let known = schema.get("properties").and_then(Value::as_object);
    let keeps_properties = known.into_iter().flatten().all(|(name, before)| {
        match (before, next.get("properties").and_then(|p| p.get(name))) {
            (Value::Object(before), Some(Value::Object(after))) => adds_to(before, after),
            (before, after) => Some(before) == after,
        }
    });
    keeps_words && keeps_required && keeps_properties
}

impl Selector {
    /// Whether an event with this `data` is chosen.
    pub fn selects(&self, data: &JsonObject) -> bool {
        self.0.iter().all(|(field, how, argument)| {
            let mut segments = field.split('.');
            let first = segments.next().and_then(|name| data.get(name));
            let found = segments.try_fold(first, |found, name| Some(found?.get(name)));
            found
                .flatten()
                .is_some_and(|field| how.selects(argument, field))
        })
    }

    /// Whether it chooses every event.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// The arguments, in the order of their names.
    pub fn arguments(&self) -> JsonObject {
        let arguments = self.0.iter();
        arguments
            .map(|(name, _, value)| (name.clone(), value.clone()))
            .collect()
    }
}

fn arguments(value: Value) -> Result<BTreeMap<String, Match>, Invalid> {
    let fields = object(value)?;
    if fields.len() > Declaration::MAX_ARGUMENTS {
        let max = Declaration::MAX_ARGUMENTS;
        return Err(Invalid::value(format!("at most {max} fields")));
    }
    let mut refusals = Vec::new();
    let mut arguments = BTreeMap::new();
    for (field, how) in fields {
        let is_path =
            field.chars().count() <= MAX_FIELD && field.split('.').all(|name| !name.is_empty());
        if !is_path {
            let expected = "the name of a field of data, with dots between those of objects in it";
            refusals.push(Invalid::field(field, expected));
            continue;
        }
        match Fields::parsed(how) {
            Ok(how) => {
                arguments.insert(field, how);
            }
            Err(invalid) => refusals.push(invalid.within(&field)),
        }
    }
    Invalid::collect(refusals)?;
    Ok(arguments)
}

/// The longest name of a field, in characters.
const MAX_FIELD: usize = 128;

fn delivery(value: Value) -> Result<Vec<Delivery>, Invalid> {
    let ways = array(value)?.into_iter().map(Fields::parsed);
    let mut ways = ways.collect::<Result<Vec<Delivery>, Invalid>>()?;
    let given = ways.len();
    ways.sort_unstable();
    ways.dedup();
    match ways.is_empty() || ways.len() < given {
        true => Err(Invalid::value(
            "poll, push, webhook, each once at most, and at least one",
        )),
        false => Ok(ways),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: Value) -> Result<Declaration, Invalid> {
        Declaration::parse("incident.created".parse().unwrap(), value)
    }

    fn declared(value: Value) -> Declaration {
        parse(value).unwrap()
    }

    #[test]
    fn what_is_read_is_written() {
        let all = json!({
            "description": "Something broke", "topic": "ops/incidents",
            "payload_schema": {"type": "object", "properties": {"severity": {"type": "integer"}}},
            "arguments": {"service.name": "glob", "severity": "min"},
            "delivery": ["poll", "webhook"],
        });
        assert_eq!(Value::Object(declared(all.clone()).to_json()), all);
        let least = declared(json!({}));
        assert_eq!(least.delivery, Delivery::ALL);
        assert_eq!(Value::Object(least.to_json())["arguments"], json!({}));
    }

    #[test]
    fn each_mistake_is_named() {
        let check = |value: Value, says: &str| {
            let refused = parse(value.clone()).unwrap_err().to_string();
            assert!(refused.contains(says), "{value}: {refused}");
        };
        check(json!([]), "an object");
        check(json!({"topics": "a"}), "topics: expected no such field");
        check(json!({"topic": "$a"}), "topic: expected");
        check(
            json!({"payload_schema": 5}),
            "payload_schema: expected an object",
        );
        check(
            json!({"arguments": {"a": "regex"}}),
            "arguments.a: expected equals, glob",
        );
        check(
            json!({"arguments": {"a..b": "glob"}}),
            "a..b: expected the name of a field",
        );
        check(
            json!({"delivery": []}),
            "delivery: expected poll, push, webhook",
        );
        check(
            json!({"delivery": ["poll", "poll"]}),
            "delivery: expected poll, push, webhook",
        );
        check(
            json!({"delivery": ["mail"]}),
            "expected poll, push or webhook",
        );
    }

    #[test]
    fn arguments_choose_by_what_is_in_data() {
        let declaration = declared(json!({"arguments": {
            "kind": "equals", "host.name": "glob", "path": "prefix", "severity": "min",
            "region": "one_of",
        }}));
        let check = |arguments: Value, data: Value, expected: bool| {
            let Value::Object(arguments) = arguments else {
                panic!()
            };
            let selector = declaration.selector(arguments.clone()).unwrap();
            let data = data.as_object().unwrap();
            assert_eq!(selector.selects(data), expected, "{arguments:?} {data:?}");
        };
        check(json!({}), json!({}), true);
        check(json!({"kind": 1}), json!({"kind": 1.0}), true);
        check(json!({"kind": "1"}), json!({"kind": 1}), false);
        check(json!({"kind": null}), json!({}), false);
        check(json!({"kind": null}), json!({"kind": null}), true);
        check(
            json!({"host.name": "db-*"}),
            json!({"host": {"name": "db-7"}}),
            true,
        );
        check(
            json!({"host.name": "db-*"}),
            json!({"host.name": "db-7"}),
            false,
        );
        check(
            json!({"host.name": "*"}),
            json!({"host": {"name": 7}}),
            false,
        );
        check(json!({"path": "/a"}), json!({"path": "/ab"}), true);
        check(json!({"path": "/a"}), json!({"path": "b/a"}), false);
        check(json!({"severity": 3}), json!({"severity": 3}), true);
        check(json!({"severity": 3}), json!({"severity": 2.9}), false);
        check(json!({"severity": 3}), json!({"severity": "4"}), false);
        check(json!({"region": ["eu", 2]}), json!({"region": 2}), true);
        check(json!({"region": ["eu"]}), json!({"region": "us"}), false);
        check(
            json!({"severity": 3, "path": "/"}),
            json!({"severity": 3}),
            false,
        );
    }

    #[test]
    fn wrong_arguments_are_named() {
        let declaration = declared(json!({"arguments": {"severity": "min", "region": "one_of"}}));
        let check = |arguments: Value, says: &str| {
            let Value::Object(arguments) = arguments else {
                panic!()
            };
            let refused = declaration.selector(arguments).unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
        };
        check(json!({"severity": "3"}), "severity: expected a number");
        check(
            json!({"region": []}),
            "region: expected an array of 1 to 100",
        );
        check(
            json!({"region": [[]]}),
            "region: expected an array of 1 to 100",
        );
        check(
            json!({"host": 1}),
            "host: expected no such argument; known are region, severity",
        );
    }

    #[test]
    fn a_glob_stands_for_texts() {
        let check = |pattern: &str, text: &str, expected: bool| {
            let got = glob(pattern.as_bytes(), text.as_bytes());
            assert_eq!(got, expected, "{pattern} {text}");
        };
        check("", "", true);
        check("*", "", true);
        check("a*c", "abc", true);
        check("a*c", "ac", true);
        check("a*c", "acb", false);
        check("a?c", "äbc", false);
        check("?bc", "äbc", true);
        check("*ä?", "xäö", true);
        check("**a**", "bab", true);
        check("a", "ab", false);
        check("a?", "a", false);
        check("*a*b*a*", "xxaxxbxxaxx", true);
        check(&"*a".repeat(100), &"a".repeat(99), false);
    }

    #[test]
    fn what_only_adds_breaks_nothing() {
        let before = json!({
            "payload_schema": {
                "type": "object", "required": ["id"],
                "properties": {
                    "id": {"type": "string"},
                    "host": {"type": "object", "properties": {"name": {"type": "string"}}},
                },
            },
            "arguments": {"id": "equals"}, "delivery": ["poll", "push"],
        });
        let before = declared(before);
        let check = |change: &dyn Fn(&mut Value), expected: Option<Breaking>| {
            let mut next = Value::Object(before.to_json());
            change(&mut next);
            assert_eq!(before.breaks(&declared(next.clone())), expected, "{next}");
        };
        check(&|_| (), None);
        check(&|it| it["description"] = json!("d"), None);
        check(&|it| it["topic"] = json!("t"), None);
        check(
            &|it| it["delivery"] = json!(["poll", "push", "webhook"]),
            None,
        );
        check(&|it| it["arguments"]["host.name"] = json!("glob"), None);
        check(
            &|it| it["payload_schema"]["properties"]["more"] = json!({"type": "null"}),
            None,
        );
        check(
            &|it| it["payload_schema"]["required"] = json!(["id", "host"]),
            None,
        );
        check(
            &|it| it["payload_schema"]["properties"]["id"]["title"] = json!("Id"),
            None,
        );
        let host = |it: &mut Value, change: Value| {
            it["payload_schema"]["properties"]["host"]["properties"]["port"] = change;
        };
        check(&|it| host(it, json!({"type": "integer"})), None);

        let payload = Some(Breaking::Payload);
        check(&|it| it["payload_schema"]["type"] = json!("array"), payload);
        check(&|it| it["payload_schema"]["required"] = json!([]), payload);
        check(
            &|it| it["payload_schema"]["properties"] = json!({}),
            payload,
        );
        check(
            &|it| it["payload_schema"]["properties"]["id"] = json!({"type": "integer"}),
            payload,
        );
        check(
            &|it| it["payload_schema"]["properties"]["host"]["properties"] = json!({}),
            payload,
        );
        check(
            &|it| drop(it.as_object_mut().unwrap().remove("payload_schema")),
            payload,
        );
        check(&|it| it["arguments"] = json!({}), Some(Breaking::Arguments));
        check(
            &|it| it["arguments"]["id"] = json!("glob"),
            Some(Breaking::Arguments),
        );
        check(
            &|it| it["delivery"] = json!(["poll"]),
            Some(Breaking::Delivery),
        );
    }

    #[test]
    fn arguments_have_the_schema_of_their_field() {
        let declaration = declared(json!({
            "payload_schema": {"properties": {
                "region": {"type": "string", "enum": ["eu", "us"]},
                "host": {"properties": {"name": {"type": "string"}}},
            }},
            "arguments": {"region": "one_of", "host.name": "equals", "other": "equals"},
        }));
        let schema = Value::Object(declaration.input_schema());
        assert_eq!(schema["additionalProperties"], false);
        let region = &schema["properties"]["region"];
        assert_eq!(
            region["items"],
            json!({"type": "string", "enum": ["eu", "us"]})
        );
        assert_eq!(schema["properties"]["host.name"], json!({"type": "string"}));
        assert!(schema["properties"]["other"]["type"].is_array());
    }
}
