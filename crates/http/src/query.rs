use std::str::FromStr;

use notification_event::{ClientId, Filter, Invalid, ParseError, Timestamp};
use notification_hub::{Start, Subscribe};

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

/// What `topic`, `type`, `client_id`, `since` and `last_event_id` ask for.
/// `start` is where to begin if none of the last two says so.
pub(crate) fn subscribe(query: &mut Query, now: Timestamp, start: Start) -> Subscribe {
    let topics = query.all("topic", FromStr::from_str);
    let types = query.all("type", FromStr::from_str);
    let client: Option<ClientId> = query.one("client_id", FromStr::from_str);
    let since = query.one("since", |text| Start::parse(text, now));
    let last_event_id = query
        .one("last_event_id", FromStr::from_str)
        .map(Start::After);
    if since.is_some() && last_event_id.is_some() {
        query.refuse("since", "either since or last_event_id, not both");
    }
    Subscribe {
        filter: Filter { topics, types },
        client,
        start: last_event_id.or(since).unwrap_or(start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, expected: Result<Start, &str>) {
        let now = "2024-01-15T10:30:00Z".parse().unwrap();
        let mut query = Query::new(Some(raw));
        let subscribe = subscribe(&mut query, now, Start::Now);
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
        let cursor = Start::After("0123abcd-7".parse().unwrap());
        check("last_event_id=0123abcd-7", Ok(cursor));
        check("since=0123abcd-7", Ok(cursor));
        for wrong in [
            ("since=soon", "since"),
            ("since=all&since=all", "since"),
            ("since=all&last_event_id=0123abcd-7", "since"),
            ("last_event_id=7", "last_event_id"),
            ("topic=a%20b", "topic"),
            ("type=status", "type"),
            ("client_id=", "client_id"),
            ("topics=a", "topics"),
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
