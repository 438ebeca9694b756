use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::backoff::backoff;
use crate::{Client, Error, Refusal, RefusalKind, SseParser, StreamOptions};

/// How many ids are remembered, so that no event is handed on twice.
const REMEMBERED: usize = 10_000;

/// After so much silence the server is taken for gone; it sends a heartbeat every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// The largest event that is read, in bytes.
const MAX_EVENT: usize = 16 << 20;

/// What a stream hands on.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// An event, as it came.
    Event(Map<String, Value>),
    /// What the server says of this connection, such as a gap.
    Status(Map<String, Value>),
    /// An event came that is no JSON object with a `type`.
    Unreadable(String),
    /// The connection was lost, or could not be made, for this reason. It is made
    /// again after so long.
    Lost {
        /// Why.
        reason: String,
        /// How long is waited.
        wait: Duration,
    },
}

impl Item {
    /// The field of an event or a status, as text; nothing, if there is no such.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        let (Self::Event(object) | Self::Status(object)) = self else {
            return "";
        };
        object.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Events until the server refuses for good. It comes back by itself after cuts
/// and restarts, where it was. Dropping it closes it.
#[derive(Debug)]
pub struct Stream {
    client: Client,
    options: StreamOptions,
    cursor: Option<String>,
    connection: Option<Connection>,
    /// When the next connection is made.
    due: Option<Instant>,
    retry: Option<Duration>,
    failures: u32,
    rejections: u32,
    seen: Seen,
}

#[derive(Debug)]
struct Connection {
    body: Incoming,
    parser: SseParser,
    /// To come back with another credential, before this one ends.
    renew_at: Option<Instant>,
    has_lost_credential: bool,
}

/// Why a connection is over.
enum Over {
    Lost(String),
    Renewal,
}

impl Stream {
    pub(crate) fn new(client: Client, options: StreamOptions) -> Self {
        Self {
            client,
            cursor: options.last_event_id.clone(),
            options,
            connection: None,
            due: None,
            retry: None,
            failures: 0,
            rejections: 0,
            seen: Seen::default(),
        }
    }

    /// Where to resume, for [`StreamOptions::last_event_id`].
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// What comes next. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// The server refuses for good.
    pub async fn next(&mut self) -> Result<Item, Error> {
        loop {
            if let Some(due) = self.due {
                sleep_until(due).await;
                self.due = None;
            }
            if self.connection.is_none() {
                if let Some(item) = self.connect().await? {
                    return Ok(item);
                }
                continue;
            }
            if let Some(item) = self.take_item() {
                return Ok(item);
            }
            if let Err(over) = self.read().await
                && let Some(item) = self.end(over)?
            {
                return Ok(item);
            }
        }
    }

    /// Opens a connection, or says why that did not work.
    async fn connect(&mut self) -> Result<Option<Item>, Error> {
        let path = self.options.path();
        match self.client.open(&path, self.cursor.as_deref()).await {
            Ok(answer) => {
                self.failures = 0;
                self.connection = Some(Connection {
                    body: answer.into_body(),
                    parser: SseParser::default(),
                    renew_at: None,
                    has_lost_credential: false,
                });
                Ok(None)
            }
            Err(error) => match error.kind() {
                RefusalKind::Refused => Err(error),
                RefusalKind::Unauthorized => {
                    self.rejections += 1;
                    match self.rejections > 1 || !self.client.can_renew() {
                        true => Err(error),
                        false => Ok(None),
                    }
                }
                RefusalKind::Unavailable => {
                    self.failures += 1;
                    Ok(Some(self.wait(error.to_string(), error.retry_after())))
                }
            },
        }
    }

    /// What has come and was not handed on.
    fn take_item(&mut self) -> Option<Item> {
        let connection = self.connection.as_mut()?;
        let mut found = None;
        while let Some(message) = connection.parser.next_message() {
            let item = item(&message.data);
            if let Item::Event(event) = &item {
                let id = event.get("event_id").and_then(Value::as_str);
                if !self.seen.add(id.unwrap_or_default()) {
                    continue;
                }
            }
            if let Item::Status(status) = &item {
                connection.note(status, self.client.can_renew());
            }
            found = Some(item);
            break;
        }
        // Also that of an event without data, and of one that was there before.
        if let Some(id) = connection.parser.last_event_id() {
            self.cursor = Some(id.to_owned());
        }
        self.retry = connection.parser.retry().or(self.retry);
        found
    }

    /// Waits for more.
    async fn read(&mut self) -> Result<(), Over> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if connection.parser.held() > MAX_EVENT {
            return Err(Over::Lost("an event is too large".to_owned()));
        }
        let silent = Instant::now() + SILENCE;
        let until = connection.renew_at.map_or(silent, |at| at.min(silent));
        match timeout_at(until, connection.body.frame()).await {
            Ok(Some(Ok(frame))) => {
                connection
                    .parser
                    .push(&frame.into_data().unwrap_or_default());
                Ok(())
            }
            Ok(Some(Err(error))) => Err(Over::Lost(format!("the connection was lost: {error}"))),
            Ok(None) => Err(Over::Lost("the server closed the stream".to_owned())),
            Err(_) if until < silent => Err(Over::Renewal),
            Err(_) => Err(Over::Lost("the server says nothing any more".to_owned())),
        }
    }

    fn end(&mut self, over: Over) -> Result<Option<Item>, Error> {
        let connection = self.connection.take();
        let has_lost = connection.is_some_and(|it| it.has_lost_credential);
        if has_lost && !self.client.can_renew() {
            let detail = "the credential of this stream is no longer good";
            return Err(Error::Refused(Refusal {
                detail: detail.to_owned(),
                ..Refusal::read(401, None, b"")
            }));
        }
        self.rejections = 0;
        match over {
            Over::Renewal => Ok(None),
            Over::Lost(reason) => Ok(Some(self.wait(reason, None))),
        }
    }

    fn wait(&mut self, reason: String, retry_after: Option<Duration>) -> Item {
        let wait = backoff(self.failures, self.retry, retry_after, fastrand::f64());
        self.due = Some(Instant::now() + wait);
        Item::Lost { reason, wait }
    }

    /// Has the next connection be made at once, whatever was said to wait.
    #[doc(hidden)]
    pub fn hurry(&mut self) {
        self.due = None;
    }
}

impl Connection {
    fn note(&mut self, status: &Map<String, Value>, can_renew: bool) {
        let text = |name: &str| status.get(name).and_then(Value::as_str);
        match text("status") {
            Some("unauthorized") => self.has_lost_credential = true,
            Some("credential_expiring") if can_renew => {
                let ends = text("expires_at").and_then(|it| it.parse::<Timestamp>().ok());
                let left = ends.map(|ends| ends.duration_since(Timestamp::now()));
                let left = left.and_then(|left| Duration::try_from(left).ok());
                // When, is left to chance: others have the same to do.
                let wait = left.unwrap_or_default().mul_f64(fastrand::f64() / 2.0);
                self.renew_at = Some(Instant::now() + wait);
            }
            _ => {}
        }
    }
}

fn item(data: &[u8]) -> Item {
    match serde_json::from_slice(data) {
        Ok(Value::Object(object)) => match object.get("type").and_then(Value::as_str) {
            Some("status") => Item::Status(object),
            Some(_) => Item::Event(object),
            None => Item::Unreadable(String::from_utf8_lossy(data).into_owned()),
        },
        _ => Item::Unreadable(String::from_utf8_lossy(data).into_owned()),
    }
}

/// The newest ids that were handed on.
#[derive(Debug, Default)]
struct Seen {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    /// Takes note of one. False if it was there.
    fn add(&mut self, id: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}
