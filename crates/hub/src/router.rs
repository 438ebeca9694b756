use std::collections::HashMap;
use std::sync::Arc;

use notification_event::{Pattern, Segment, Topic};

/// Finds whoever wants a topic, by a walk along its segments: what a lookup
/// costs does not grow with the number of patterns that do not match.
#[derive(Debug)]
pub(crate) struct Router<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    literal: HashMap<Box<str>, Node<T>>,
    /// `*`
    one: Option<Box<Node<T>>>,
    /// Patterns that end here.
    here: Vec<Arc<T>>,
    /// Patterns that end here with `**`.
    rest: Vec<Arc<T>>,
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self {
            root: Node::default(),
        }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            literal: HashMap::new(),
            one: None,
            here: Vec::new(),
            rest: Vec::new(),
        }
    }
}

impl<T> Router<T> {
    pub(crate) fn insert(&mut self, pattern: &Pattern, target: Arc<T>) {
        let mut node = &mut self.root;
        for segment in pattern.segments() {
            node = match segment {
                Segment::Literal(literal) => node.literal.entry(literal.into()).or_default(),
                Segment::One => node.one.get_or_insert_default(),
                Segment::Rest => return node.rest.push(target),
            };
        }
        node.here.push(target);
    }

    pub(crate) fn remove(&mut self, pattern: &Pattern, target: &Arc<T>) {
        let segments: Vec<_> = pattern.segments().collect();
        self.root.remove(&segments, target);
    }

    /// Calls `found` with each target of each pattern that matches `topic`:
    /// more than once with a target that has several such patterns.
    pub(crate) fn find(&self, topic: &Topic, mut found: impl FnMut(&Arc<T>)) {
        let segments: Vec<_> = topic.segments().collect();
        match (topic.is_reserved(), segments.split_first()) {
            // Only patterns that name it find a topic of the server itself.
            (true, Some((first, others))) => {
                if let Some(node) = self.root.literal.get(*first) {
                    node.find(others, &mut found);
                }
            }
            _ => self.root.find(&segments, &mut found),
        }
    }
}

impl<T> Node<T> {
    fn find(&self, segments: &[&str], found: &mut impl FnMut(&Arc<T>)) {
        self.rest.iter().for_each(&mut *found);
        let Some((first, others)) = segments.split_first() else {
            self.here.iter().for_each(&mut *found);
            return;
        };
        if let Some(node) = self.literal.get(*first) {
            node.find(others, found);
        }
        if let Some(node) = &self.one {
            node.find(others, found);
        }
    }

    fn remove(&mut self, segments: &[Segment<'_>], target: &Arc<T>) {
        let others = |list: &mut Vec<Arc<T>>| list.retain(|t| !Arc::ptr_eq(t, target));
        match segments.split_first() {
            None => others(&mut self.here),
            Some((Segment::Rest, _)) => others(&mut self.rest),
            Some((Segment::One, further)) => {
                if let Some(node) = &mut self.one {
                    node.remove(further, target);
                    self.one.take_if(|node| node.is_empty());
                }
            }
            Some((Segment::Literal(literal), further)) => {
                if let Some(node) = self.literal.get_mut(*literal) {
                    node.remove(further, target);
                    if node.is_empty() {
                        self.literal.remove(*literal);
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.literal.is_empty()
            && self.one.is_none()
            && self.here.is_empty()
            && self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern() -> impl Strategy<Value = Pattern> {
        let segment = prop_oneof!["[ab]", Just("*".to_owned())];
        let head = prop::collection::vec(segment, 0..4);
        (any::<bool>(), head, any::<bool>()).prop_map(|(reserved, mut segments, rest)| {
            if reserved {
                segments.insert(0, "$a".to_owned());
            }
            if rest || segments.is_empty() {
                segments.push("**".to_owned());
            }
            segments.join("/").parse().unwrap()
        })
    }

    fn topic() -> impl Strategy<Value = Topic> {
        let segments = prop::collection::vec("[abc]", 1..5);
        (any::<bool>(), segments).prop_map(|(reserved, segments)| {
            let sign = if reserved { "$" } else { "" };
            format!("{sign}{}", segments.join("/")).parse().unwrap()
        })
    }

    proptest! {
        #[test]
        fn the_walk_finds_what_the_patterns_match(
            patterns in prop::collection::vec((pattern(), any::<bool>()), 0..20),
            topic in topic(),
        ) {
            let mut router = Router::default();
            let targets: Vec<_> = patterns.iter().map(|(p, _)| Arc::new(p.clone())).collect();
            for target in &targets {
                router.insert(target, target.clone());
            }
            for (target, (_, stays)) in targets.iter().zip(&patterns) {
                if !stays {
                    router.remove(target, target);
                }
            }
            let mut found = Vec::new();
            router.find(&topic, |target| found.push(target.to_string()));
            let stay = patterns.iter().filter(|(p, stays)| *stays && p.matches(&topic));
            let mut expected: Vec<_> = stay.map(|(p, _)| p.to_string()).collect();
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn a_router_without_targets_holds_nothing(
            patterns in prop::collection::vec(pattern(), 0..20),
        ) {
            let mut router = Router::default();
            let target = Arc::new(());
            patterns.iter().for_each(|p| router.insert(p, target.clone()));
            patterns.iter().for_each(|p| router.remove(p, &target));
            prop_assert!(router.root.is_empty());
        }
    }
}
