use serde_json::{Value, json};

use crate::fields::{Fields, array};
use crate::schema::{object, reference};
use crate::{EventName, EventType, Head, Invalid, JsonObject, ParseError, Pattern, Priority, Tag};

/// Which events a subscriber wants. The default wants everything but the
/// server's own topics.
///
/// The parts of one filter are joined by "and", the entries of one list by "or";
/// an empty list asks for nothing in particular.
///
/// JSON: `{"topics": […], "types": […], "names": […], "min_priority": 4, "tags": […]}`,
/// without those that ask for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Topics, by pattern.
    pub topics: Vec<Pattern>,
    /// Types.
    pub types: Vec<EventType>,
    /// Names of applications' own events.
    pub names: Vec<EventName>,
    /// This priority or a higher one.
    pub min_priority: Option<Priority>,
    /// Tags, of which an event has to have one.
    pub tags: Vec<Tag>,
}

impl Filter {
    /// How many of each may be asked for at once.
    pub const MAX: usize = 100;

    /// That it asks for no more than [`MAX`](Self::MAX) of anything; names what is
    /// too much. What was stored before is not held to that.
    pub fn check_size(&self) -> Result<(), Invalid> {
        let sizes = [
            ("topics", self.topics.len()),
            ("types", self.types.len()),
            ("names", self.names.len()),
            ("tags", self.tags.len()),
        ];
        let too_many = sizes.into_iter().filter(|(_, size)| *size > Self::MAX);
        let expected = format!("at most {}", Self::MAX);
        Invalid::collect(too_many.map(|(name, _)| Invalid::field(name, &expected)))
    }

    /// Whether an event with this head is wanted.
    pub fn matches(&self, head: &Head) -> bool {
        let topic = match self.topics.as_slice() {
            [] => !head.topic.is_reserved(),
            topics => topics.iter().any(|p| p.matches(&head.topic)),
        };
        topic && self.matches_apart_from_topic(head)
    }

    /// Whether an event on a topic that is known to be wanted is wanted.
    pub fn matches_apart_from_topic(&self, head: &Head) -> bool {
        (self.types.is_empty() || self.types.contains(&head.event_type))
            && (self.names.is_empty() || head.name.as_ref().is_some_and(|n| self.names.contains(n)))
            && self.min_priority.is_none_or(|min| head.priority >= min)
            && (self.tags.is_empty() || head.tags.iter().any(|tag| self.tags.contains(tag)))
    }

    /// The same filter in one spelling, so that equal filters are seen to be equal.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        self.topics.sort();
        self.topics.dedup();
        self.types.sort();
        self.types.dedup();
        self.names.sort();
        self.names.dedup();
        self.tags.sort();
        self.tags.dedup();
        self.min_priority = self.min_priority.filter(|min| *min > Priority::Min);
        self
    }

    /// Reads the JSON that [`Filter::to_json`] writes.
    pub fn parse(object: JsonObject) -> Result<Self, Invalid> {
        let mut fields = Fields::new(object);
        let filter = Self::read(&mut fields);
        fields.finish()?;
        Ok(filter)
    }

    /// Takes the fields of a filter, all of which may be absent.
    pub fn read(fields: &mut Fields) -> Self {
        Self {
            topics: fields.optional("topics", list).unwrap_or_default(),
            types: fields.optional("types", list).unwrap_or_default(),
            names: fields.optional("names", list).unwrap_or_default(),
            min_priority: fields.optional("min_priority", Priority::parse),
            tags: fields.optional("tags", list).unwrap_or_default(),
        }
    }

    /// The JSON Schema of what [`Filter::to_json`] writes.
    pub fn schema() -> Value {
        let list = |of| json!({"type": "array", "items": reference(of), "maxItems": Self::MAX});
        let parts = json!({
            "topics": list("Pattern"),
            "types": list("EventType"),
            "names": list("EventName"),
            "min_priority": Priority::number_schema(),
            "tags": list("Tag"),
        });
        object(parts, &[])
    }

    /// The filter as JSON.
    pub fn to_json(&self) -> JsonObject {
        fn words<'a>(words: impl Iterator<Item = &'a str>) -> Value {
            words.map(Value::from).collect()
        }
        let lists = [
            ("topics", words(self.topics.iter().map(Pattern::as_str))),
            ("types", words(self.types.iter().map(|t| t.as_str()))),
            ("names", words(self.names.iter().map(EventName::as_str))),
            ("tags", words(self.tags.iter().map(Tag::as_str))),
        ];
        let lists = lists
            .into_iter()
            .filter(|(_, l)| *l != Value::Array(Vec::new()));
        let priority = self
            .min_priority
            .map(|p| ("min_priority", p.number().into()));
        let parts = lists.chain(priority);
        parts
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

fn list<T: std::str::FromStr<Err = ParseError>>(value: Value) -> Result<Vec<T>, Invalid> {
    array(value)?.into_iter().map(Fields::parsed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_filter_is_read_as_it_was_written() {
        let all = json!({"topics": ["ops/**"], "types": ["event"], "names": ["a.b"],
                         "min_priority": 4, "tags": ["x", "y"]});
        for json in [json!({}), all] {
            let filter = Filter::parse(json.as_object().unwrap().clone()).unwrap();
            assert!(filter.to_json() == *json.as_object().unwrap());
        }
        let wrong = json!({"topics": "ops", "colour": "red"});
        assert!(Filter::parse(wrong.as_object().unwrap().clone()).is_err());
    }
}
