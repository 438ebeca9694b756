//! Grants and wishes for keys: what is read is written as it was, and nobody gets
//! to see more by asking for less.
#![no_main]

use notification_access::{Grant, Grants, NewKey};
use notification_event::{Filter, Pattern, Topic};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(json) = serde_json::from_str(text) {
        let _ = NewKey::parse(json);
    }
    // Grants, what is asked for, and a topic, one on each line.
    let mut lines = text.lines();
    let mut words = || lines.next().unwrap_or_default().split(' ');
    let grants = words().filter_map(|word| word.parse::<Grant>().ok());
    let grants: Vec<_> = grants.take(Grants::MAX).collect();
    for grant in &grants {
        assert_eq!(grant.to_string().parse().as_ref(), Ok(grant));
    }
    let grants = Grants::new(grants).expect("not too many");
    let topics: Vec<Pattern> = words().filter_map(|word| word.parse().ok()).collect();
    let asked = Filter {
        topics,
        ..Filter::default()
    };
    let topics: Vec<Topic> = words().filter_map(|word| word.parse().ok()).collect();
    let Ok(narrowed) = grants.narrow(asked.clone()) else {
        return;
    };
    let sees = |filter: &Filter, topic: &Topic| match filter.topics.as_slice() {
        [] => !topic.is_reserved(),
        topics => topics.iter().any(|pattern| pattern.matches(topic)),
    };
    for topic in &topics {
        let expected = sees(&asked, topic) && grants.read(topic).is_ok();
        assert_eq!(sees(&narrowed.filter, topic), expected, "{topic}");
    }
});
