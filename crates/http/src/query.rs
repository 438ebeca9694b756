use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use notification_event::schema::{described, reference};
use notification_event::{ClientId, Filter, Invalid, ParseError, Timestamp};
use notification_hub::{Start, Subscribe};
use serde_json::{Value, json};

use crate::operation::Operation;
use crate::problem::Problem;

/// The parameters of one query, each of which has to be taken by somebody: what
/// is left over is a mistake, and mistakes are said.
#[derive(Debug)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    refusals: Vec<Invalid>,
}

impl Query {
    pub(crate) fn new(raw: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(raw.unwrap_or_default().as_bytes());
        Self {
            pairs: pairs.into_owned().collect(),
            known: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// Takes a parameter that may be given any number of times.
    pub(crate) fn all<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&str) -> Result<T, ParseError>,
    ) -> Vec<T> {
        self.known.push(name);
        let is_it = |pair: &mut (String, String)| pair.0 == name;
        let mut values = Vec::new();
        for (_, value) in self.pairs.extract_if(.., is_it) {
            match read(&value) {
                Ok(value) => values.push(value),
                Err(error) => self.refusals.push(Invalid::field(name, error.expected)),
            }
        }
        values
    }

    /// Takes a parameter that may be given once.
    pub(crate) fn one<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&str) -> Result<T, ParseError>,
    ) -> Option<T> {
        let given = self.pairs.iter().filter(|pair| pair.0 == name).count();
        if given > 1 {
            self.refuse(name, "this parameter at most once");
        }
        self.all(name, read).pop()
    }

    pub(crate) fn refuse(&mut self, name: &str, expected: &str) {
        self.refusals.push(Invalid::field(name, expected));
    }

    fn has_refused(&self, name: &str) -> bool {
        let mut errors = self.refusals.iter().flat_map(|invalid| &invalid.errors);
        errors.any(|error| error.field == name)
    }

    /// Refuses if anything was wrong, or nobody took it.
    pub(crate) fn finish(self) -> Result<(), Invalid> {
        let known = match self.known.is_empty() {
            true => "no query parameters here".to_owned(),
            false => format!("no such parameter; known are {}", self.known.join(", ")),
        };
        let unknown = self
            .pairs
            .into_iter()
            .map(|(name, _)| Invalid::field(name, known.clone()));
        Invalid::collect(self.refusals.into_iter().chain(unknown))
    }
}

/// That a request has no query.
pub(crate) struct NoQuery;

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::new(parts.uri.query());
        query.finish().map_err(Problem::bad_query)?;
        Ok(Self)
    }
}

/// What `topic`, `type`, `name`, `min_priority` and `tag` ask for.
pub(crate) fn filter(query: &mut Query) -> Filter {
    let filter = Filter {
        topics: query.all("topic", FromStr::from_str),
        types: query.all("type", FromStr::from_str),
        names: query.all("name", FromStr::from_str),
        min_priority: query.one("min_priority", FromStr::from_str),
        tags: query.all("tag", FromStr::from_str),
    };
    if let Err(too_large) = filter.check_size() {
        for error in too_large.errors {
            // In a query each is one.
            let name = error.field.trim_end_matches('s');
            query.refuse(name, &error.expected);
        }
    }
    filter
}

pub(crate) fn describe_filter(operation: Operation) -> Operation {
    operation
        .queries("topic", reference("Pattern"))
        .queries("type", reference("EventType"))
        .queries("name", reference("EventName"))
        .query("min_priority", reference("Priority"))
        .queries("tag", reference("Tag"))
}

/// Who `client_id` says asks.
pub(crate) fn client(query: &mut Query) -> Option<ClientId> {
    query.one("client_id", FromStr::from_str)
}

pub(crate) fn describe_client(operation: Operation) -> Operation {
    let who = "Who asks: what is for somebody is shown to nobody else";
    operation.query("client_id", described(reference("ClientId"), who))
}

/// Where `since` or `last_event_id` say to begin, if one of them does.
pub(crate) fn start(query: &mut Query, now: Timestamp) -> Option<Start> {
    let since = query.one("since", |text| Start::parse(text, now));
    let last_event_id = query
        .one("last_event_id", FromStr::from_str)
        .map(Start::After);
    if since.is_some() && last_event_id.is_some() {
        query.refuse("since", "either since or last_event_id, not both");
    }
    last_event_id.or(since)
}

/// What [`Start::parse`] reads.
pub(crate) fn start_schema() -> Value {
    let ago = json!({
        "description": "So long ago: a duration such as 10m or 2h",
        "type": "string", "pattern": "^[0-9]{1,6}[hms]$",
    });
    let everything = json!({"const": "all"});
    let since = [everything, reference("Cursor"), reference("Timestamp"), ago];
    json!({"anyOf": since})
}

pub(crate) fn describe_start(operation: Operation) -> Operation {
    operation.query("since", start_schema()).query(
        "last_event_id",
        described(reference("Cursor"), "Not with since"),
    )
}

/// The most of anything that one answer lists.
pub(crate) const MAX_LIMIT: usize = 1_000;
const DEFAULT_LIMIT: usize = 100;

/// How much of a list `limit` asks for.
pub(crate) fn limit(query: &mut Query) -> usize {
    let read = |text: &str| {
        let limit = text.parse().ok();
        let limit = limit.filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.ok_or(ParseError {
            what: "limit",
            expected: "an integer from 1 to 1000",
        })
    };
    query.one("limit", read).unwrap_or(DEFAULT_LIMIT)
}

pub(crate) fn describe_limit(operation: Operation) -> Operation {
    operation.query(
        "limit",
        json!({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}),
    )
}

/// Everything that a stream can be asked for, by somebody who is a client by his
/// credential, or is not.
pub(crate) fn subscribe(query: &mut Query, now: Timestamp, is_client: bool) -> Subscribe {
    let filter = filter(query);
    let client = client(query);
    let start = start(query, now);
    let durable = query.one("durable", flag).unwrap_or_default();
    let ack = query.one("ack", FromStr::from_str);
    let max_rate = query.one("max_rate", FromStr::from_str);
    let snapshot = query.one("snapshot", flag).unwrap_or_default();
    if durable && client.is_none() && !is_client && !query.has_refused("client_id") {
        query.refuse("client_id", "this parameter, which durable=true needs");
    }
    if ack.is_some() && !durable {
        query.refuse("ack", "this parameter only with durable=true");
    }
    if snapshot && start.is_some() {
        let expected = "either snapshot=true or where to begin, not both";
        query.refuse("snapshot", expected);
    }
    Subscribe {
        filter,
        client,
        start: start.unwrap_or_default(),
        durable: durable.then(|| ack.unwrap_or_default()),
        max_rate,
        snapshot,
        ..Subscribe::default()
    }
}

pub(crate) fn describe_subscribe(operation: Operation) -> Operation {
    let flag = |meaning: &str| json!({"description": meaning, "type": "boolean", "default": false});
    let durable = "The client's place in the log is kept; with client_id";
    let ack = json!({
        "description": "What moves that place; with durable",
        "type": "string", "enum": ["auto", "manual"], "default": "auto",
    });
    let max_rate = json!({
        "description": "Events per second", "type": "number", "minimum": 0.01, "maximum": 1_000_000,
    });
    let snapshot = "The newest state of everything comes first; not with since or last_event_id";
    describe_start(describe_client(describe_filter(operation)))
        .query("durable", flag(durable))
        .query("ack", ack)
        .query("max_rate", max_rate)
        .query("snapshot", flag(snapshot))
}

fn flag(text: &str) -> Result<bool, ParseError> {
    text.parse().map_err(|_| ParseError {
        what: "flag",
        expected: "true or false",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, expected: Result<Start, &str>) {
        let now = "2024-01-15T10:30:00Z".parse().unwrap();
        let mut query = Query::new(Some(raw));
        let subscribe = subscribe(&mut query, now, false);
        let result = query.finish().map(|()| subscribe.start);
        assert_eq!(
            result
                .as_ref()
                .map_err(|invalid| invalid.errors[0].field.as_str()),
            expected.as_ref().map_err(|field| *field),
            "{raw}"
        );
    }

    #[test]
    fn queries_are_read_strictly() {
        check("", Ok(Start::Now));
        check("since=all", Ok(Start::Beginning));
        check(
            "topic=a&topic=b%2F*&type=progress&client_id=x",
            Ok(Start::Now),
        );
        check(
            "name=a.b&min_priority=high&tag=x&tag=y&max_rate=2.5&snapshot=true",
            Ok(Start::Now),
        );
        check(
            "client_id=x&durable=true&ack=manual&since=all",
            Ok(Start::Beginning),
        );
        let cursor = Start::After("0123abcd-7".parse().unwrap());
        check("last_event_id=0123abcd-7", Ok(cursor));
        check("since=0123abcd-7", Ok(cursor));
        let many_topics = "topic=a&".repeat(101);
        for wrong in [
            ("since=soon", "since"),
            ("since=all&since=all", "since"),
            ("since=all&last_event_id=0123abcd-7", "since"),
            ("last_event_id=7", "last_event_id"),
            ("topic=a%20b", "topic"),
            ("type=status", "type"),
            ("client_id=", "client_id"),
            ("topics=a", "topics"),
            ("name=a/b", "name"),
            ("min_priority=6", "min_priority"),
            ("min_priority=1&min_priority=1", "min_priority"),
            ("tag=", "tag"),
            ("durable=true", "client_id"),
            ("durable=yes", "durable"),
            ("client_id=a%20b&durable=true", "client_id"),
            ("client_id=x&ack=manual", "ack"),
            ("client_id=x&durable=true&ack=never", "ack"),
            ("max_rate=0", "max_rate"),
            ("snapshot=1", "snapshot"),
            ("snapshot=true&since=all", "snapshot"),
            (many_topics.as_str(), "topic"),
            ("x", "x"),
        ] {
            check(wrong.0, Err(wrong.1));
        }
    }

    #[test]
    fn the_known_parameters_are_listed() {
        let mut query = Query::new(Some("colour=red"));
        query.all("topic", |text| text.parse::<notification_event::Topic>());
        let refusal = query.finish().unwrap_err().to_string();
        assert_eq!(
            refusal,
            "colour: expected no such parameter; known are topic"
        );
    }
}
