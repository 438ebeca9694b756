use crate::{EventType, Head, Pattern};

/// Which events a subscriber wants. The default wants everything.
///
/// The lists of one filter are joined by "and", the entries of one list by "or";
/// an empty list asks for nothing in particular.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Topics, by pattern.
    pub topics: Vec<Pattern>,
    /// Types.
    pub types: Vec<EventType>,
}

impl Filter {
    /// Whether an event with this head is wanted.
    pub fn matches(&self, head: &Head) -> bool {
        let topic = self.topics.is_empty() || self.topics.iter().any(|p| p.matches(&head.topic));
        topic && self.matches_apart_from_topic(head)
    }

    /// Whether an event on a topic that is known to be wanted is wanted.
    pub fn matches_apart_from_topic(&self, head: &Head) -> bool {
        self.types.is_empty() || self.types.contains(&head.event_type)
    }

    /// The same filter in one spelling, so that equal filters are seen to be equal.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        self.topics.sort();
        self.topics.dedup();
        self.types.sort();
        self.types.dedup();
        self
    }
}
