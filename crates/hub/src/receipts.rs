use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use notification_event::{
    Application, Body, ClientId, Cursor, Draft, EventId, Invalid, JsonObject, Timestamp,
};
use notification_log::{AckMode, Change, Entry, LogError, Receipt};
use tokio::sync::{Mutex, mpsc};

use crate::PublishError;
use crate::metrics::ReceiptLabel;
use crate::shared::Shared;

/// How many deliveries are noted in one commit.
const BATCH: usize = 500;

/// The most events that are acknowledged at once.
pub(crate) const MAX_EVENTS: usize = 1_000;

/// Notes who has got, and who has acknowledged, the events that ask for it.
#[derive(Debug)]
pub(crate) struct Receipts {
    /// Unbounded: there is one note for each delivery of an event that asks for
    /// it, and a stream cannot wait for a commit after each.
    notes: mpsc::UnboundedSender<Delivered>,
    /// Held from looking what is noted until the news of it is committed, so
    /// that nothing is told twice.
    noting: Mutex<()>,
}

/// An event that asks for acknowledgement has reached a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Delivered {
    pub(crate) event: EventId,
    pub(crate) client: ClientId,
}

/// What a client acknowledges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// Everything up to and including this.
    Through(Cursor),
    /// These events, 1 to 1000.
    Events(Vec<EventId>),
}

/// The answer to acknowledging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// How many events that ask for it were acknowledged by this client for the first time.
    pub receipts: usize,
    /// Where the client goes on when it comes back, if its place is kept.
    pub cursor: Option<Cursor>,
}

/// Why nothing was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcknowledgeError {
    /// It makes no sense.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It was not stored.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl From<LogError> for AcknowledgeError {
    fn from(error: LogError) -> Self {
        Self::Publish(error.into())
    }
}

/// Who has got, and who has acknowledged, one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventReceipts {
    /// Whether the event asks for it.
    pub require_ack: bool,
    /// Each client it was meant for, or that got it, in order of the names.
    pub receipts: Vec<Receipt>,
}

impl Receipts {
    /// What it is told goes to `notes`, for [`note_deliveries`].
    pub(crate) fn new(notes: mpsc::UnboundedSender<Delivered>) -> Self {
        Self {
            notes,
            noting: Mutex::new(()),
        }
    }

    pub(crate) fn delivered(&self, delivered: Delivered) {
        // A hub that has closed notes nothing more.
        let _ = self.notes.send(delivered);
    }
}

/// Notes deliveries until there are no more.
pub(crate) async fn note_deliveries(
    hub: Arc<Shared>,
    mut notes: mpsc::UnboundedReceiver<Delivered>,
) {
    let mut batch = Vec::new();
    while notes.recv_many(&mut batch, BATCH).await > 0 {
        let delivered: HashSet<_> = batch.drain(..).collect();
        if let Err(error) = note(&hub, delivered).await {
            tracing::warn!(%error, "receipts of deliveries could not be noted");
        }
    }
}

async fn note(hub: &Shared, delivered: HashSet<Delivered>) -> Result<(), PublishError> {
    let _noting = hub.receipts.noting.lock().await;
    let mut of_event: HashMap<EventId, Vec<ClientId>> = HashMap::new();
    for Delivered { event, client } in delivered {
        of_event.entry(event).or_default().push(client);
    }
    let (mut changes, mut news) = (Vec::new(), Vec::new());
    for (event, clients) in of_event {
        let known = hub.log.receipts(event.clone()).await?;
        let has_it = |client: &ClientId| {
            let mut known = known.iter();
            known.any(|r| r.client == *client && r.delivered_at.is_some())
        };
        for client in clients.into_iter().filter(|client| !has_it(client)) {
            news.push(announcement("receipt.delivered", &event, &client));
            changes.push(Change::Delivered {
                event: event.clone(),
                client,
                at: now(),
            });
        }
    }
    commit(hub, "delivered", news, changes).await
}

/// Notes what a client acknowledges; all of it, or nothing.
pub(crate) async fn acknowledge(
    hub: &Shared,
    client: &ClientId,
    what: Acknowledge,
) -> Result<Acknowledged, AcknowledgeError> {
    let _noting = hub.receipts.noting.lock().await;
    let now = now();
    let (record, asking) = match what {
        Acknowledge::Through(cursor) => {
            if cursor.epoch != hub.epoch || cursor.position > hub.fan_out.head() {
                let expected = "a cursor of this server's log that was given to a client";
                return Err(Invalid::field("cursor", expected).into());
            }
            let log = &hub.log;
            let asking = log.unacknowledged(client.clone(), cursor.position).await?;
            let clients = &hub.clients;
            (
                clients.acknowledge_through(client, cursor.position, now),
                asking,
            )
        }
        Acknowledge::Events(ids) => {
            let entries = find(hub, client, &ids).await?;
            let asking = entries.iter().filter(|entry| entry.event.head.require_ack);
            let asking: Vec<_> = asking.map(|entry| entry.event.head.id.clone()).collect();
            let positions = entries.iter().map(|entry| entry.position);
            (hub.clients.acknowledge(client, positions, now), asking)
        }
    };
    for connection in hub.connections.of(client) {
        connection.wake();
    }
    let cursor = record.as_ref().map(|record| record.cursor);
    let (mut changes, mut news) = (Vec::new(), Vec::new());
    for event in asking {
        let known = hub.log.receipts(event.clone()).await?;
        let mut known = known.iter().filter(|receipt| receipt.client == *client);
        if known.any(|receipt| receipt.acknowledged_at.is_some()) {
            continue;
        }
        news.push(announcement("receipt.acknowledged", &event, client));
        changes.push(Change::Acknowledged {
            event,
            client: client.clone(),
            at: now,
        });
    }
    let receipts = changes.len();
    changes.extend(record.map(Change::SaveClient));
    commit(hub, "acknowledged", news, changes).await?;
    Ok(Acknowledged { receipts, cursor })
}

/// The events that a client names, all of which have to be its to acknowledge.
async fn find(
    hub: &Shared,
    client: &ClientId,
    ids: &[EventId],
) -> Result<Vec<Entry>, AcknowledgeError> {
    if ids.is_empty() || ids.len() > MAX_EVENTS {
        let expected = format!("an array of 1 to {MAX_EVENTS} event ids");
        return Err(Invalid::field("event_ids", expected).into());
    }
    let is_manual = hub
        .clients
        .get(client)
        .is_some_and(|status| status.record.ack == AckMode::Manual);
    let found = hub.log.find(ids.to_vec()).await?;
    let mut refusals = Vec::new();
    let mut entries = Vec::with_capacity(found.len());
    for (index, entry) in found.into_iter().enumerate() {
        let its = entry.filter(|entry| {
            let audience = entry.event.head.audience.as_ref();
            audience.is_none_or(|a| hub.groups.includes(a, client, entry.position))
        });
        let field = format!("event_ids[{index}]");
        match its {
            Some(entry) if is_manual || entry.event.head.require_ack => entries.push(entry),
            Some(_) => refusals.push(Invalid::field(
                field,
                "an event with require_ack, or a durable client with ack=manual",
            )),
            None => refusals.push(Invalid::field(
                field,
                "the id of an event in the log that is for this client",
            )),
        }
    }
    Invalid::collect(refusals)?;
    Ok(entries)
}

async fn commit(
    hub: &Shared,
    kind: &'static str,
    news: Vec<Draft>,
    changes: Vec<Change>,
) -> Result<(), PublishError> {
    if changes.is_empty() {
        return Ok(());
    }
    let receipts = news.len() as u64;
    hub.publish(news, changes).await?;
    let label = ReceiptLabel { kind };
    hub.metrics.receipts.get_or_create(&label).inc_by(receipts);
    Ok(())
}

fn announcement(name: &str, event: &EventId, client: &ClientId) -> Draft {
    let body = Body::Application(Application {
        name: name.parse().expect("an event name"),
    });
    let data = [
        ("event_id".to_owned(), event.as_str().into()),
        ("client_id".to_owned(), client.as_str().into()),
    ];
    let topic = format!("$receipts/{event}");
    Draft {
        topic: topic
            .parse()
            .expect("event ids are segments of such topics"),
        data: Some(JsonObject::from_iter(data)),
        ..Draft::from(body)
    }
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
