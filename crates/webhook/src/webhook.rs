use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use notification_access::{Lapsed, Principal};
use notification_event::{
    Breaking, Cursor, EventId, EventName, Filter, JsonObject, Position, Timestamp,
};
use notification_hub::Frame;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::destination::Destination;
use crate::health::Health;
use crate::{Attempt, DeadLetter, Endpoint, Secret};

/// How many attempts of one webhook are remembered.
const MAX_ATTEMPTS: usize = 50;

/// How many dead letters one webhook has.
pub(crate) const MAX_LETTERS: usize = 1_000;

/// What somebody is sent, and where to.
#[derive(Debug)]
pub(crate) struct Webhook {
    pub(crate) id: String,
    /// In whose name it reads.
    pub(crate) owner: Arc<Principal>,
    pub(crate) created_at: Timestamp,
    /// Whether it is a subscription of an MCP client, and not a service's own.
    pub(crate) is_subscription: bool,
    // A std mutex: held for lookups and small changes, never across an await.
    state: Mutex<State>,
    commands: mpsc::UnboundedSender<Command>,
    /// Rung when its state is not what its worker thinks.
    pub(crate) attention: Notify,
    /// Rung when it may end at another time.
    pub(crate) renewed: Notify,
}

/// What changes of a webhook.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) of: Definition,
    /// Where it was when it was created.
    pub(crate) began: Cursor,
    /// Everything up to here was taken, or given up, or not wanted.
    pub(crate) watermark: Cursor,
    /// What beyond it was taken or given up.
    pub(crate) settled: BTreeSet<Position>,
    pub(crate) health: Health,
    /// The newest, in order.
    pub(crate) attempts: VecDeque<Attempt>,
    /// In the order in which they were given up.
    pub(crate) letters: VecDeque<DeadLetter>,
    pub(crate) unsaved: Unsaved,
    /// It is not there any more.
    pub(crate) is_over: bool,
}

/// What is not stored yet.
#[derive(Debug, Default)]
pub(crate) struct Unsaved {
    /// Its place in the log.
    pub(crate) place: bool,
    pub(crate) letters: Vec<DeadLetter>,
    pub(crate) removed_letters: Vec<EventId>,
}

/// What its owner says of it.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) endpoint: Endpoint,
    pub(crate) destination: Arc<Destination>,
    /// The newest first; the others until then.
    pub(crate) secrets: Vec<(Secret, Option<Timestamp>)>,
    pub(crate) wanted: Wanted,
    pub(crate) description: Option<String>,
    pub(crate) is_paused: bool,
    pub(crate) expires_at: Option<Timestamp>,
}

/// Which events it is sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wanted {
    /// As they are on streams.
    Filter(Filter),
    /// As occurrences of an event type.
    EventType {
        /// Which.
        name: EventName,
        /// What chooses among them.
        arguments: JsonObject,
        /// What it was when it was subscribed to.
        revision: u64,
    },
}

/// What its worker is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Its definition has changed.
    Again,
    /// Send these once more.
    Redeliver(Vec<Arc<Frame>>),
    /// Bring its place up to date.
    Place(oneshot::Sender<()>),
    /// It is over, which is to be stored and said.
    End(Option<Ending>),
    /// It was removed.
    Stop,
}

/// Why the server ended a webhook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// Its event type is not declared any more.
    #[error("the event type {0} is not declared any more")]
    Removed(EventName),
    /// Its event type is not what it relies on.
    #[error("the event type {0} has changed")]
    Changed(EventName, Breaking),
    /// Its owner may not have it any more.
    #[error("{0}")]
    Unauthorized(String),
}

impl Ending {
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Removed(_) => "event_type_removed",
            Self::Changed(..) => "event_type_changed",
            Self::Unauthorized(_) => "unauthorized",
        }
    }
}

impl From<Lapsed> for Ending {
    fn from(lapsed: Lapsed) -> Self {
        Self::Unauthorized(lapsed.to_string())
    }
}

/// How a webhook does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is sent what it wants.
    Active,
    /// Its owner wants nothing to be sent.
    Paused,
    /// It failed so often that it is left alone.
    Suspended,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Active, Self::Paused, Self::Suspended];

    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Suspended => "suspended",
        }
    }
}

impl Unsaved {
    pub(crate) fn is_nothing(&self) -> bool {
        !self.place && self.letters.is_empty() && self.removed_letters.is_empty()
    }

    /// Has back what could not be stored, beside what came since.
    pub(crate) fn restore(&mut self, before: Self) {
        let newer = std::mem::replace(self, before);
        self.place |= newer.place;
        let is_removed = |event: &EventId| newer.removed_letters.contains(event);
        self.letters.retain(|letter| !is_removed(&letter.event));
        let is_back = |event: &EventId| newer.letters.iter().any(|it| it.event == *event);
        self.removed_letters.retain(|event| !is_back(event));
        self.letters.extend(newer.letters);
        self.removed_letters.extend(newer.removed_letters);
    }
}

impl Webhook {
    pub(crate) fn new(
        id: String,
        owner: Arc<Principal>,
        created_at: Timestamp,
        is_subscription: bool,
        state: State,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Command>) {
        let (commands, commanded) = mpsc::unbounded_channel();
        let webhook = Self {
            id,
            owner,
            created_at,
            is_subscription,
            state: Mutex::new(state),
            commands,
            attention: Notify::new(),
            renewed: Notify::new(),
        };
        (Arc::new(webhook), commanded)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Tells its worker, if it still has one.
    pub(crate) fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    pub(crate) fn condition(&self) -> Condition {
        self.state().condition()
    }

    /// As its owner sees it. Without its secrets.
    pub(crate) fn to_json(&self) -> JsonObject {
        let state = self.state();
        let of = &state.of;
        let mut object = JsonObject::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("id", self.id.as_str().into());
        put("owner", (*self.owner.name).into());
        put(
            "kind",
            if self.is_subscription {
                "mcp"
            } else {
                "service"
            }
            .into(),
        );
        put("url", of.endpoint.as_str().into());
        match &of.wanted {
            Wanted::Filter(filter) => put("filter", Value::Object(filter.to_json())),
            Wanted::EventType {
                name, arguments, ..
            } => {
                put("event_type", json!(name));
                put("arguments", Value::Object(arguments.clone()))
            }
        };
        if let Some(description) = &of.description {
            put("description", description.as_str().into());
        }
        put("state", state.condition().as_str().into());
        put("created_at", json!(self.created_at));
        put("cursor", json!(state.watermark));
        put("dead_letters", state.letters.len().into());
        let health = &state.health;
        for (name, time) in [
            ("expires_at", of.expires_at),
            ("last_delivery_at", health.last_delivery_at),
            ("failed_since", health.failed_since),
            ("suspended_at", health.suspended_at),
            ("throttled_until", health.throttled_until),
        ] {
            if let Some(time) = time {
                put(name, json!(time));
            }
        }
        if let Some(error) = health.last_error {
            put("last_error", error.as_str().into());
        }
        object
    }
}

impl State {
    pub(crate) fn new(of: Definition, watermark: Cursor) -> Self {
        Self {
            of,
            began: watermark,
            watermark,
            settled: BTreeSet::new(),
            health: Health::default(),
            attempts: VecDeque::new(),
            letters: VecDeque::new(),
            unsaved: Unsaved::default(),
            is_over: false,
        }
    }

    pub(crate) fn condition(&self) -> Condition {
        match self.health.suspended_at {
            _ if self.of.is_paused => Condition::Paused,
            Some(_) => Condition::Suspended,
            None => Condition::Active,
        }
    }

    /// Remembers an attempt.
    pub(crate) fn remember(&mut self, attempt: Attempt) {
        if self.attempts.len() == MAX_ATTEMPTS {
            self.attempts.pop_front();
        }
        self.attempts.push_back(attempt);
    }

    /// Has a dead letter more. The one that made room for it, if there was no room.
    pub(crate) fn give_up(&mut self, letter: DeadLetter) -> Option<DeadLetter> {
        self.letters.retain(|other| other.event != letter.event);
        let dropped = match self.letters.len() >= MAX_LETTERS {
            true => self.letters.pop_front(),
            false => None,
        };
        if let Some(dropped) = &dropped {
            self.unsaved.removed_letters.push(dropped.event.clone());
        }
        self.letters.push_back(letter.clone());
        self.unsaved
            .removed_letters
            .retain(|id| *id != letter.event);
        self.unsaved.letters.push(letter);
        dropped
    }

    /// Has a dead letter less, as it was taken after all.
    pub(crate) fn take_letter(&mut self, event: &EventId) {
        self.letters.retain(|letter| letter.event != *event);
        self.unsaved.letters.retain(|letter| letter.event != *event);
        self.unsaved.removed_letters.push(event.clone());
    }

    /// Moves on to where everything but `outstanding` was seen to, which is known
    /// up to `through`.
    pub(crate) fn advance(&mut self, outstanding: Option<Position>, through: Cursor) {
        let position = match outstanding {
            Some(oldest) => Position(oldest.0.saturating_sub(1)),
            None => through.position,
        };
        if position > self.watermark.position || through.epoch != self.watermark.epoch {
            self.watermark = Cursor {
                epoch: through.epoch,
                position,
            };
            self.settled = self.settled.split_off(&position.plus(1));
            self.unsaved.place = true;
        }
    }
}

impl Definition {
    /// What deliveries are signed with at that time.
    pub(crate) fn signing(&self, now: Timestamp) -> impl Iterator<Item = &Secret> {
        let good = move |until: &Option<Timestamp>| until.is_none_or(|until| now < until);
        let good = self.secrets.iter().filter(move |(_, until)| good(until));
        good.map(|(secret, _)| secret)
    }

    /// Signs with another secret from now on, and with the one before until then.
    pub(crate) fn rotate(&mut self, secret: Secret, until: Timestamp, now: Timestamp) {
        if self
            .secrets
            .first()
            .is_some_and(|(newest, _)| *newest == secret)
        {
            return;
        }
        self.secrets
            .retain(|(old, end)| end.is_none_or(|end| now < end) && *old != secret);
        if let Some((_, end)) = self.secrets.first_mut() {
            *end = Some(until);
        }
        self.secrets.insert(0, (secret, None));
        // Receivers look at each.
        self.secrets.truncate(3);
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use notification_event::Epoch;

    use super::*;
    use crate::destination::Destinations;
    use crate::{DestinationLimits, Guard, Outcome};

    fn definition() -> Definition {
        let limits = DestinationLimits {
            concurrency: 1,
            per_second: 0,
        };
        Definition {
            endpoint: Endpoint::parse("https://example.com/", &Guard::default()).unwrap(),
            destination: Destinations::new(limits).get("https://example.com"),
            secrets: vec![(Secret::generate(), None)],
            wanted: Wanted::Filter(Filter::default()),
            description: None,
            is_paused: false,
            expires_at: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    #[test]
    fn a_place_never_runs_ahead_of_what_is_outstanding() {
        let epoch = Epoch::generate();
        let cursor = |position| Cursor {
            epoch,
            position: Position(position),
        };
        let mut state = State::new(definition(), cursor(3));
        state.settled = [5, 7].map(Position).into();
        state.advance(Some(Position(4)), cursor(9));
        assert_eq!(state.watermark, cursor(3));
        state.advance(Some(Position(6)), cursor(9));
        assert_eq!(state.watermark, cursor(5));
        assert_eq!(state.settled, [Position(7)].into());
        state.advance(None, cursor(9));
        assert_eq!(state.watermark, cursor(9));
        assert!(state.settled.is_empty() && state.unsaved.place);
        state.advance(None, cursor(8));
        assert_eq!(state.watermark, cursor(9));
    }

    #[test]
    fn dead_letters_are_bounded_and_one_for_each_event() {
        let mut state = State::new(
            definition(),
            Cursor {
                epoch: Epoch::generate(),
                position: Position(0),
            },
        );
        let letter = |number: usize| DeadLetter {
            event: format!("e{number}").parse().unwrap(),
            at: at(1),
            attempts: 5,
            outcome: Outcome::Timeout,
        };
        for number in 0..MAX_LETTERS {
            assert_eq!(state.give_up(letter(number)), None);
        }
        assert_eq!(state.give_up(letter(7)), None, "it has its place");
        assert_eq!(state.give_up(letter(MAX_LETTERS)), Some(letter(0)));
        assert_eq!(state.letters.len(), MAX_LETTERS);
        state.take_letter(&letter(7).event);
        assert_eq!(state.letters.len(), MAX_LETTERS - 1);
        assert_eq!(DeadLetter::from_json(&letter(3).to_json()), Some(letter(3)));
    }

    #[test]
    fn a_secret_that_was_replaced_is_good_for_a_while() {
        let mut definition = definition();
        let first = definition.secrets[0].0.clone();
        let second = Secret::generate();
        definition.rotate(second.clone(), at(100), at(50));
        let signing = |now| definition.signing(now).cloned().collect::<Vec<_>>();
        assert_eq!(signing(at(99)), [second.clone(), first.clone()]);
        assert_eq!(signing(at(100)), std::slice::from_ref(&second));
        let mut again = definition.clone();
        again.rotate(second.clone(), at(200), at(150));
        assert_eq!(again.secrets.len(), 2, "nothing was replaced");
        again.rotate(first.clone(), at(200), at(150));
        let signing: Vec<_> = again.signing(at(150)).cloned().collect();
        assert_eq!(signing, [first, second]);
    }
}
