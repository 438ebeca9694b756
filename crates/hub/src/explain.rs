//! Who got an event, and who did not, and why.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use notification_access::Grant;
use notification_event::{ClientId, EventId, Position, Timestamp};
use notification_log::{AckMode, Receipt};
use serde_json::{Value, json};

use crate::clients::ClientStatus;
use crate::connections::Connection;
use crate::shared::Shared;
use crate::{Caller, Frame, Hub, ReadError};

/// How many recipients one explanation names. The others are counted.
const MAX_RECIPIENTS: usize = 1_000;

/// What became of one event.
#[derive(Debug)]
pub struct Explanation {
    /// It.
    pub event: Arc<Frame>,
    /// Who it was for, or could have been. Those who wanted it come first.
    pub recipients: Vec<Recipient>,
    /// How many there are of each fate, those who are not named among them.
    pub outcomes: BTreeMap<&'static str, usize>,
    /// How many there are of each reason.
    pub reasons: BTreeMap<&'static str, usize>,
    /// How many recipients are not named.
    pub omitted: usize,
}

/// Somebody who might have got an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// What it is.
    pub kind: RecipientKind,
    /// What names it.
    pub id: String,
    /// The client that it is, if it has a name.
    pub client: Option<ClientId>,
    /// How it is reached: `sse`, …
    pub transport: &'static str,
    /// What became of the event.
    pub fate: Fate,
    /// When it got it, if that is known.
    pub delivered_at: Option<Timestamp>,
    /// When it acknowledged it.
    pub acknowledged_at: Option<Timestamp>,
}

/// Of what kind somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecipientKind {
    /// An open stream.
    Stream,
    /// A client whose place is kept, or that has receipts.
    Client,
    /// A webhook.
    Webhook,
}

/// What became of an event for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It has acknowledged it.
    Acknowledged,
    /// It got it.
    Delivered,
    /// It gets it, but has not yet, for a reason: `behind`, `away`, `retrying`,
    /// `paused`, `suspended`.
    Pending(&'static str),
    /// It did not take it, after all attempts; what became of the last.
    GivenUp(&'static str),
    /// It does not get it, for a reason: `filter`, `audience`, `no_permission`,
    /// `came_later`, `expired`, `rate`, `superseded`.
    NotDelivered(&'static str),
    /// It has passed it, got or not.
    Unknown,
}

/// Somebody else who delivers events, and knows what became of them.
pub trait Explains: Debug + Send + Sync {
    /// What became of an event.
    fn explain(&self, event: &Frame) -> Vec<Recipient>;
}

impl Explanation {
    /// `{"event_id", "cursor", "topic", "timestamp", "outcomes", "reasons",
    /// "recipients", "omitted"}`
    pub fn to_json(&self) -> Value {
        let recipients = self.recipients.iter().map(Recipient::to_json);
        json!({
            "event_id": self.event.head.id,
            "cursor": self.event.cursor(),
            "topic": self.event.head.topic,
            "timestamp": self.event.head.timestamp,
            "outcomes": self.outcomes,
            "reasons": self.reasons,
            "recipients": recipients.collect::<Vec<_>>(),
            "omitted": self.omitted,
        })
    }
}

impl Recipient {
    fn to_json(&self) -> Value {
        let mut json = json!({
            "kind": self.kind.as_str(),
            "id": self.id,
            "transport": self.transport,
            "outcome": self.fate.as_str(),
        });
        if let Some(client) = &self.client {
            json["client_id"] = json!(client);
        }
        if let Some(reason) = self.fate.reason() {
            json["reason"] = reason.into();
        }
        for (name, time) in [
            ("delivered_at", self.delivered_at),
            ("acknowledged_at", self.acknowledged_at),
        ] {
            if let Some(time) = time {
                json[name] = json!(time);
            }
        }
        json
    }
}

impl RecipientKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Stream, Self::Client, Self::Webhook];

    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Client => "client",
            Self::Webhook => "webhook",
        }
    }
}

impl Fate {
    /// The words for them in JSON.
    pub const WORDS: [&'static str; 6] = [
        "acknowledged",
        "delivered",
        "pending",
        "given_up",
        "not_delivered",
        "unknown",
    ];

    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Delivered => "delivered",
            Self::Pending(_) => "pending",
            Self::GivenUp(_) => "given_up",
            Self::NotDelivered(_) => "not_delivered",
            Self::Unknown => "unknown",
        }
    }

    /// Why.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Pending(reason) | Self::GivenUp(reason) | Self::NotDelivered(reason) => {
                Some(reason)
            }
            Self::Acknowledged | Self::Delivered | Self::Unknown => None,
        }
    }

    /// Whether it has to do with somebody who did not want the event.
    fn is_of_no_interest(self) -> bool {
        matches!(self, Self::NotDelivered("filter" | "came_later"))
    }
}

impl Hub {
    /// Has somebody be asked, too, what became of events.
    pub fn also_explain(&self, who: Arc<dyn Explains>) {
        let shared = self.shared();
        shared.explains.lock().expect("no holder panics").push(who);
    }
}

impl Caller {
    /// What became of an event: of the streams that are open now, of clients whose
    /// place is kept, and of webhooks. None if it is not in the log.
    pub async fn explain(&self, event: EventId) -> Result<Option<Explanation>, ReadError> {
        self.need(Grant::ConnectionsRead)?;
        let shared = self.hub().shared();
        let found = shared.log.find(vec![event.clone()]).await?.pop().flatten();
        let Some(entry) = found else {
            return Ok(None);
        };
        let frame = Arc::new(Frame::new(shared.epoch, entry));
        let receipts = self.hub().receipts(event).await?;
        let receipts = receipts.map(|it| it.receipts).unwrap_or_default();
        let mut recipients = shared.connections.explain(shared, &frame);
        recipients.extend(explain_clients(shared, &frame, &receipts));
        let others = shared.explains.lock().expect("no holder panics").clone();
        for other in others {
            recipients.extend(other.explain(&frame));
        }
        Ok(Some(explanation(frame, recipients)))
    }
}

fn explanation(event: Arc<Frame>, mut recipients: Vec<Recipient>) -> Explanation {
    let (mut outcomes, mut reasons) = (BTreeMap::new(), BTreeMap::new());
    for it in &recipients {
        *outcomes.entry(it.fate.as_str()).or_default() += 1;
        if let Some(reason) = it.fate.reason() {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    recipients.sort_by(|a, b| {
        let key = |it: &Recipient| (it.fate.is_of_no_interest(), it.kind, it.fate);
        key(a).cmp(&key(b)).then_with(|| a.id.cmp(&b.id))
    });
    let omitted = recipients.len().saturating_sub(MAX_RECIPIENTS);
    recipients.truncate(MAX_RECIPIENTS);
    Explanation {
        event,
        recipients,
        outcomes,
        reasons,
        omitted,
    }
}

impl Connection {
    pub(crate) fn explain(&self, shared: &Shared, frame: &Frame) -> Recipient {
        Recipient {
            kind: RecipientKind::Stream,
            id: self.id.to_string(),
            client: self.of.client.clone(),
            transport: self.of.transport.name,
            fate: self.fate(shared, frame),
            delivered_at: None,
            acknowledged_at: None,
        }
    }

    fn fate(&self, shared: &Shared, frame: &Frame) -> Fate {
        let client = self.of.client.as_ref();
        if !self.filter().matches(&frame.head) {
            let grants = &self.principal().grants;
            let is_hidden = self.of.admission.is_narrowed;
            return Fate::NotDelivered(match grants.read(&frame.head.topic) {
                Err(_) if is_hidden => "no_permission",
                _ => "filter",
            });
        }
        if !shared.is_for(frame, client) {
            return Fate::NotDelivered("audience");
        }
        if self.began_after() >= frame.position {
            return Fate::NotDelivered("came_later");
        }
        if let Some(reason) = self.why_not(frame.position) {
            return Fate::NotDelivered(reason);
        }
        match self.position() >= frame.position {
            true if self.has_forgotten(frame.position) && is_perishable(frame) => Fate::Unknown,
            true => Fate::Delivered,
            false => Fate::Pending("behind"),
        }
    }
}

/// Whether an event may have been passed over although it was wanted.
fn is_perishable(frame: &Frame) -> bool {
    frame.head.expires_at.is_some() || frame.head.collapse.is_some()
}

/// Clients whose place is kept, and those that have receipts of it.
fn explain_clients(shared: &Shared, frame: &Frame, receipts: &[Receipt]) -> Vec<Recipient> {
    let mut receipts: BTreeMap<_, _> = receipts.iter().map(|it| (&it.client, it)).collect();
    let known = shared.clients.list();
    let mut all = Vec::with_capacity(known.len());
    for status in &known {
        let receipt = receipts.remove(&status.record.client);
        all.push(explain_client(shared, frame, status, receipt));
    }
    // Those of whom nothing else is known.
    all.extend(receipts.into_values().map(|receipt| {
        let fate = match (receipt.acknowledged_at, receipt.delivered_at) {
            (Some(_), _) => Fate::Acknowledged,
            (None, Some(_)) => Fate::Delivered,
            (None, None) => Fate::Pending("away"),
        };
        of_client(&receipt.client, fate, Some(receipt))
    }));
    all
}

fn explain_client(
    shared: &Shared,
    frame: &Frame,
    status: &ClientStatus,
    receipt: Option<&Receipt>,
) -> Recipient {
    let record = &status.record;
    let is_settled =
        record.cursor.position >= frame.position || record.acknowledged.contains(&frame.position);
    let is_acknowledged = receipt.is_some_and(|receipt| receipt.acknowledged_at.is_some())
        || is_settled && record.ack == AckMode::Manual;
    let fate = if !record.filter.matches(&frame.head) {
        Fate::NotDelivered("filter")
    } else if !shared.is_for(frame, Some(&record.client)) {
        Fate::NotDelivered("audience")
    } else if is_acknowledged {
        Fate::Acknowledged
    } else if receipt.is_some_and(|receipt| receipt.delivered_at.is_some()) {
        Fate::Delivered
    } else if record.created_at > frame.head.timestamp && is_settled {
        Fate::NotDelivered("came_later")
    } else if is_settled && is_perishable(frame) {
        Fate::Unknown
    } else if is_settled {
        Fate::Delivered
    } else if status.connections.is_empty() {
        Fate::Pending("away")
    } else {
        Fate::Pending("behind")
    };
    of_client(&record.client, fate, receipt)
}

fn of_client(client: &ClientId, fate: Fate, receipt: Option<&Receipt>) -> Recipient {
    Recipient {
        kind: RecipientKind::Client,
        id: client.to_string(),
        client: Some(client.clone()),
        transport: "durable",
        fate,
        delivered_at: receipt.and_then(|receipt| receipt.delivered_at),
        acknowledged_at: receipt.and_then(|receipt| receipt.acknowledged_at),
    }
}

/// What a stream was not given of what it wanted, the newest.
#[derive(Debug, Default)]
pub(crate) struct NotGiven {
    events: std::collections::VecDeque<(Position, &'static str)>,
    /// Those up to here are forgotten.
    forgotten: Position,
}

impl NotGiven {
    /// How many are remembered.
    const MAX: usize = 64;

    pub(crate) fn push(&mut self, position: Position, why: &'static str) {
        if self.events.len() == Self::MAX
            && let Some((oldest, _)) = self.events.pop_front()
        {
            self.forgotten = oldest;
        }
        self.events.push_back((position, why));
    }

    pub(crate) fn why(&self, position: Position) -> Option<&'static str> {
        let mut events = self.events.iter();
        let found = events.find(|(other, _)| *other == position);
        found.map(|(_, why)| *why)
    }

    pub(crate) fn has_forgotten(&self, position: Position) -> bool {
        position <= self.forgotten
    }
}
