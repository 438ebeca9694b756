use notification_access::{Grant, Refused};
use notification_event::{Cursor, EventId, Filter, Pattern, Position, TaskId, Topic};
use notification_hub::{Caller, PageRequest, ReadError, Start, TaskFilter};
use rmcp::model::{ErrorData, ResourceContents, ResourceTemplate};
use serde_json::{Value, json};

use crate::events;
use crate::shorten::shorten;

const TASKS: &str = "notification://tasks";
const CONNECTIONS: &str = "notification://connections";
const TOPIC: &str = "notification://topics/";
const EVENT: &str = "notification://events/";
const TASK: &str = "notification://tasks/";

/// The templates of those that are named, as they are listed and completed.
pub(crate) const TOPIC_TEMPLATE: &str = "notification://topics/{topic}";
pub(crate) const EVENT_TEMPLATE: &str = "notification://events/{event_id}";
pub(crate) const TASK_TEMPLATE: &str = "notification://tasks/{task_id}";

/// How the cursor of a page in the list begins.
const AFTER: &str = "after:";

/// What comes before the place of a page of a topic's older events.
const THROUGH: &str = "?through=";

const JSON: &str = "application/json";

/// How much of each is in one resource, and in the list, at most.
const MAX_EVENTS: usize = 50;
const MAX_TASKS: usize = 500;
const MAX_CONNECTIONS: usize = 1_000;
const MAX_TOPICS: usize = 100;

/// Something that can be read by its URI.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Resource {
    /// The newest events of a topic.
    Topic(Topic),
    /// Those before them, up to and including this place.
    OlderOfTopic(Topic, Cursor),
    /// One event.
    Event(EventId),
    /// How far one job is.
    Task(TaskId),
    /// How far all jobs are.
    Tasks,
    /// Who is connected.
    Connections,
}

impl Resource {
    /// Reads a URI; none if nothing can be there.
    pub(crate) fn parse(uri: &str) -> Option<Self> {
        match uri {
            #[cfg(feature = "conformance-fixtures")]
            crate::fixtures::WATCHED => return Some(Self::Tasks),
            TASKS => return Some(Self::Tasks),
            CONNECTIONS => return Some(Self::Connections),
            _ => {}
        }
        // Who fills in a template writes %2F for the slashes of a topic (RFC
        // 6570, section 3.2.2); who writes a URI by hand does not.
        let named = |prefix: &str| percent_decoded(uri.strip_prefix(prefix)?);
        if let Some((uri, through)) = uri.split_once(THROUGH) {
            let topic = percent_decoded(uri.strip_prefix(TOPIC)?)?.parse().ok()?;
            return Some(Self::OlderOfTopic(topic, through.parse().ok()?));
        }
        if let Some(topic) = named(TOPIC) {
            return topic.parse().ok().map(Self::Topic);
        }
        if let Some(event) = named(EVENT) {
            return event.parse().ok().map(Self::Event);
        }
        named(TASK)?.parse().ok().map(Self::Task)
    }

    /// What is at a URI that may be watched: something may be there some day, and
    /// it may be read then.
    pub(crate) fn to_watch(caller: &Caller, uri: &str) -> Result<Self, ErrorData> {
        let resource = Self::parse(uri).ok_or_else(|| not_found(uri))?;
        let grants = &caller.principal().grants;
        let granted = match &resource {
            Self::Topic(topic) => grants.read(topic),
            // It stays as it is.
            Self::OlderOfTopic(..) => return Err(not_found(uri)),
            Self::Event(_) => grants.narrow(Filter::default()).map(drop),
            Self::Task(_) | Self::Tasks => grants.narrow_tasks(Vec::new()).map(drop),
            Self::Connections => grants.need(Grant::ConnectionsRead),
        };
        granted.map_err(|_| not_found(uri))?;
        Ok(resource)
    }

    /// What it is, as far as it may be seen; none if it is not there.
    async fn read(&self, caller: &Caller) -> Result<Option<Value>, ReadError> {
        Ok(match self {
            Self::Topic(topic) => Some(events_of(caller, topic, None).await?),
            Self::OlderOfTopic(topic, through) => {
                let is_ours = caller.hub().log_bounds().epoch == through.epoch;
                match is_ours {
                    true => Some(events_of(caller, topic, Some(through.position)).await?),
                    false => None,
                }
            }
            Self::Event(id) => {
                let event = caller.event(id.clone()).await?;
                event.map(|frame| events::one_to_json(&frame))
            }
            Self::Task(id) => caller.task(id, None).await?.map(|task| json!(task)),
            Self::Tasks => {
                let page = caller.tasks(TaskFilter::default(), MAX_TASKS).await?;
                let mut tasks = json!({ "tasks": page.tasks, "has_more": page.has_more });
                if let Some(topics) = &page.narrowed {
                    tasks["narrowed_to"] = topics.iter().map(Pattern::as_str).collect();
                }
                Some(tasks)
            }
            Self::Connections => {
                let mut connections = caller.connections(None)?;
                let has_more = connections.len() > MAX_CONNECTIONS;
                connections.truncate(MAX_CONNECTIONS);
                Some(json!({ "connections": connections, "has_more": has_more }))
            }
        })
    }
}

/// The newest events of a topic, or of its part up to a place.
async fn events_of(
    caller: &Caller,
    topic: &Topic,
    through: Option<Position>,
) -> Result<Value, ReadError> {
    let request = PageRequest {
        filter: Filter {
            topics: vec![topic.as_str().parse().expect("every topic is a pattern")],
            ..Filter::default()
        },
        client: None,
        start: Start::Beginning,
        limit: MAX_EVENTS,
    };
    let newest = caller.newest(request, through).await?;
    let mut events = json!({
        "topic": topic.as_str(),
        "events": events::to_json(&newest.frames),
        "cursor": newest.cursor,
    });
    if let Some(older) = newest.older {
        events["older"] = format!("{TOPIC}{topic}{THROUGH}{older}").into();
    }
    Ok(events)
}

/// Reads what is at a URI. What may not be read is not there.
pub(crate) async fn read(caller: &Caller, uri: &str) -> Result<ResourceContents, ErrorData> {
    #[cfg(feature = "conformance-fixtures")]
    if let Some(contents) = crate::fixtures::resource(uri) {
        return Ok(contents);
    }
    let resource = Resource::parse(uri).ok_or_else(|| not_found(uri))?;
    let content = match resource.read(caller).await {
        Ok(content) => content,
        Err(ReadError::Refused(Refused::Denied(_))) => None,
        Err(error) => return Err(unreadable(error)),
    };
    let content = content.ok_or_else(|| not_found(uri))?;
    Ok(ResourceContents::text(content.to_string(), uri).with_mime_type(JSON))
}

/// A page of what there is to read for whoever asks, as far as that is known
/// without looking for it: tasks and events are found by their templates. A page
/// goes on after the topic that is its cursor, and says where the next one does.
pub(crate) fn list(
    caller: &Caller,
    cursor: Option<&str>,
) -> Result<(Vec<rmcp::model::Resource>, Option<String>), ErrorData> {
    let after: Option<Topic> = match cursor {
        None => None,
        Some(cursor) => {
            let topic = cursor.strip_prefix(AFTER).and_then(|t| t.parse().ok());
            let misfit = || {
                let cursor = shorten(cursor);
                format!("cursor: expected the nextCursor of a page, got {cursor}")
            };
            Some(topic.ok_or_else(|| ErrorData::invalid_params(misfit(), None))?)
        }
    };
    let mut resources = match &after {
        None => list_fixed(caller),
        Some(_) => Vec::new(),
    };
    let topics = caller.topics("", after.as_ref(), MAX_TOPICS);
    let (topics, has_more) = topics.map_err(|refused| unreadable(refused.into()))?;
    resources.extend(topics.iter().map(|topic| {
        rmcp::model::Resource::new(format!("{TOPIC}{}", topic.as_str()), topic.as_str())
            .with_title(format!("Topic {}", topic.as_str()))
            .with_description("The newest events on this topic")
            .with_mime_type(JSON)
    }));
    let last = topics.last().filter(|_| has_more);
    Ok((resources, last.map(|topic| format!("{AFTER}{topic}"))))
}

/// What there is whatever was published.
fn list_fixed(caller: &Caller) -> Vec<rmcp::model::Resource> {
    let grants = &caller.principal().grants;
    let mut resources = Vec::new();
    if grants.narrow_tasks(Vec::new()).is_ok() {
        let tasks = rmcp::model::Resource::new(TASKS, "tasks")
            .with_title("Tasks")
            .with_description("How far the long-running jobs are, the most recently updated first");
        resources.push(tasks.with_mime_type(JSON));
    }
    if grants.need(Grant::ConnectionsRead).is_ok() {
        let connections = rmcp::model::Resource::new(CONNECTIONS, "connections")
            .with_title("Connections")
            .with_description("Who is connected, and how well they keep up, the oldest first");
        resources.push(connections.with_mime_type(JSON));
    }
    resources
}

/// What can be read by a name; the same for everybody.
pub(crate) fn templates() -> Vec<ResourceTemplate> {
    let template = |uri: &str, name: &str, title: &str, description: &str| {
        ResourceTemplate::new(uri, name)
            .with_title(title)
            .with_description(description)
            .with_mime_type(JSON)
    };
    vec![
        template(
            TOPIC_TEMPLATE,
            "topic",
            "Topic",
            "The newest events on a topic, such as ops/backups, the oldest of them first",
        ),
        template(
            EVENT_TEMPLATE,
            "event",
            "Event",
            "One event, by its event_id",
        ),
        template(
            TASK_TEMPLATE,
            "task",
            "Task",
            "How far one long-running job is, from its newest report",
        ),
    ]
}

/// The same for what was never there and for what may not be read.
fn not_found(uri: &str) -> ErrorData {
    let uri = shorten(uri);
    let message = format!("no resource {uri}: it is not there, or you may not read it");
    ErrorData::resource_not_found(message, Some(json!({ "uri": uri })))
}

/// Why nothing can be read right now.
pub(crate) fn unreadable(error: ReadError) -> ErrorData {
    match error {
        ReadError::Refused(refused) => ErrorData::invalid_request(refused.to_string(), None),
        ReadError::Log(error) => {
            ErrorData::internal_error(format!("the log could not be read: {error}"), None)
        }
        ReadError::Publish(error) => {
            ErrorData::internal_error(format!("the log could not be read: {error}"), None)
        }
    }
}

/// RFC 3986, section 2.1; none if it is not of UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = digit(digits[0])? * 16 + digit(digits[1])?;
        bytes.push(u8::try_from(byte).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_one_resource_or_none() {
        let check = |uri: &str, expected: Option<Resource>| {
            assert_eq!(Resource::parse(uri), expected, "{uri}");
        };
        let topic = || Some(Resource::Topic("ops/db".parse().unwrap()));
        check("notification://tasks", Some(Resource::Tasks));
        check("notification://connections", Some(Resource::Connections));
        check("notification://topics/ops/db", topic());
        check("notification://topics/ops%2Fdb", topic());
        check("notification://topics/ops%2fd%62", topic());
        check(
            "notification://events/e:1",
            Some(Resource::Event("e:1".parse().unwrap())),
        );
        check(
            "notification://tasks/t%3A1",
            Some(Resource::Task("t:1".parse().unwrap())),
        );
        for wrong in [
            "",
            "notification://",
            "notification://tasks/",
            "notification://tasks/a/b",
            "notification://tasks/a b",
            "notification://topics",
            "notification://topics/",
            "notification://topics/ops/**",
            "notification://topics/{topic}",
            "notification://topics/a%2",
            "notification://topics/a%",
            "notification://topics/a%zz",
            "notification://topics/%ff",
            "notification://topics/a?b",
            "notification://events/e%00",
            "notification://other/a",
            "http://tasks",
            "Notification://tasks",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn templates_lead_to_what_is_read() {
        for (template, prefix) in [
            (TOPIC_TEMPLATE, TOPIC),
            (EVENT_TEMPLATE, EVENT),
            (TASK_TEMPLATE, TASK),
        ] {
            assert!(template.starts_with(prefix));
        }
        assert!(TASK.starts_with(TASKS));
    }
}
