use std::fmt::Write;

/// What a stream is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamOptions {
    /// Patterns: `*` is one segment, a final `**` any rest.
    pub topics: Vec<String>,
    /// `notification`, `progress`, `event`.
    pub types: Vec<String>,
    /// Names of events of an application's own.
    pub names: Vec<String>,
    /// This priority or a higher one.
    pub min_priority: Option<u8>,
    /// Events with one of these.
    pub tags: Vec<String>,
    /// Also events for this client.
    pub client_id: Option<String>,
    /// The server keeps this client's place.
    pub durable: bool,
    /// What moves the place of a durable client: `auto`, or `manual`.
    pub ack: Option<String>,
    /// Where to begin: a duration (`10m`), an RFC 3339 time, a cursor, or `all`.
    pub since: Option<String>,
    /// First the newest state of tasks and of each collapse key.
    pub snapshot: bool,
    /// At most so many events a second.
    pub max_rate: Option<f64>,
    /// Where to resume: a [cursor](crate::Stream::cursor) of before.
    pub last_event_id: Option<String>,
}

impl StreamOptions {
    /// Events on topics of this pattern, too.
    #[must_use]
    pub fn topic(mut self, pattern: impl Into<String>) -> Self {
        self.topics.push(pattern.into());
        self
    }

    /// From there on.
    #[must_use]
    pub fn since(mut self, since: impl Into<String>) -> Self {
        self.since = Some(since.into());
        self
    }

    /// As this client.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// The path of the stream, with its parameters.
    #[must_use]
    pub fn path(&self) -> String {
        let mut query = Query::default();
        query.all("topic", &self.topics);
        query.all("type", &self.types);
        query.all("name", &self.names);
        query.put("min_priority", self.min_priority);
        query.all("tag", &self.tags);
        query.put("client_id", self.client_id.as_ref());
        query.put("durable", self.durable.then_some(true));
        query.put("ack", self.ack.as_ref());
        query.put("since", self.since.as_ref());
        query.put("snapshot", self.snapshot.then_some(true));
        query.put("max_rate", self.max_rate);
        format!("/v1/stream{}", query.0)
    }
}

#[derive(Default)]
struct Query(String);

impl Query {
    fn all(&mut self, name: &str, values: &[String]) {
        for value in values {
            self.put(name, Some(value));
        }
    }

    fn put(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            let sign = if self.0.is_empty() { '?' } else { '&' };
            let value = encode(&value.to_string());
            write!(self.0, "{sign}{name}={value}").expect("memory takes it");
        }
    }
}

/// As a value of a query (WHATWG URL, section 5.2, but a space is %20).
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                encoded.push(byte.into());
            }
            _ => write!(encoded, "%{byte:02X}").expect("memory takes it"),
        }
    }
    encoded
}
