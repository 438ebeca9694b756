use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use notification_event::{
    Application, Body, ClientId, Cursor, Draft, EventId, Invalid, JsonObject, Timestamp, Topic,
};
use notification_log::{AckMode, Change, Entry, LogError, Receipt};
use tokio::sync::{Mutex, Notify};

use crate::PublishError;
use crate::clients::{Settle, TooFarAhead};
use crate::metrics::ReceiptLabel;
use crate::shared::Shared;

/// How many deliveries are noted in one commit.
const BATCH: usize = 500;

/// The most events that are acknowledged at once.
pub(crate) const MAX_EVENTS: usize = 1_000;

/// Notes who has got, and who has acknowledged, the events that ask for it.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    /// Unbounded: there is one note for each delivery of an event that asks for
    /// it, and a stream cannot wait for a commit after each.
    notes: std::sync::Mutex<Vec<Delivered>>,
    noted: Notify,
    /// Held from looking what is to be stored until it is: so that nothing is
    /// told twice, and nothing older is stored of a client after what is newer.
    storing: Mutex<()>,
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
    /// The topic of the event.
    pub topic: Topic,
    /// The principal that published it, if that is known.
    pub published_by: Option<Arc<str>>,
    /// Each client it was meant for, or that got it, in order of the names.
    pub receipts: Vec<Receipt>,
}

impl Receipts {
    pub(crate) fn delivered(&self, delivered: Delivered) {
        self.notes().push(delivered);
        self.noted.notify_one();
    }

    /// Waits until nobody stores receipts or records of clients, and keeps
    /// others from it.
    pub(crate) async fn storing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.storing.lock().await
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Vec<Delivered>> {
        self.notes.lock().expect("no holder panics")
    }
}

/// Stores deliveries as they are noted.
pub(crate) async fn store_deliveries(hub: Arc<Shared>) {
    loop {
        hub.receipts.noted.notified().await;
        let _storing = hub.receipts.storing().await;
        store_notes(&hub).await;
    }
}

/// Stores what is noted by now. Only by who is storing.
async fn store_notes(hub: &Shared) {
    let notes = std::mem::take(&mut *hub.receipts.notes());
    for batch in notes.chunks(BATCH) {
        if let Err(error) = store(hub, batch).await {
            let lost = batch.len();
            tracing::warn!(%error, lost, "receipts of deliveries could not be stored");
        }
    }
}

async fn store(hub: &Shared, delivered: &[Delivered]) -> Result<(), PublishError> {
    let mut of_event: HashMap<EventId, HashSet<ClientId>> = HashMap::new();
    for Delivered { event, client } in delivered.iter().cloned() {
        of_event.entry(event).or_default().insert(client);
    }
    let (mut changes, mut news) = (Vec::new(), Vec::new());
    let events = of_event.keys().cloned().collect();
    for (event, known) in receipts_of(hub, events, |_| true).await? {
        let clients = of_event.remove(&event).into_iter().flatten();
        let has_it = |client: &ClientId| {
            let mut known = known.iter();
            known.any(|r| r.client == *client && r.delivered_at.is_some())
        };
        for client in clients.filter(|client| !has_it(client)) {
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

/// Notes what a client acknowledges, of what it may read; all of it, or nothing.
pub(crate) async fn acknowledge(
    hub: &Shared,
    client: &ClientId,
    what: Acknowledge,
    may_read: impl Fn(&Topic) -> bool,
) -> Result<Acknowledged, AcknowledgeError> {
    let now = now();
    let _storing = hub.receipts.storing().await;
    store_notes(hub).await;
    let (settle, asking) = match what {
        Acknowledge::Through(cursor) => {
            if cursor.epoch != hub.epoch || cursor.position > hub.log.bounds().head {
                let expected = "a cursor of this server's log that was given to a client";
                return Err(Invalid::field("cursor", expected).into());
            }
            let through = cursor.position;
            let mut asking = hub.log.unacknowledged(client.clone(), through).await?;
            let given = hub.connections.unconfirmed(client, through);
            for event in given {
                if !asking.contains(&event) {
                    asking.push(event);
                }
            }
            (Settle::Through(through), asking)
        }
        Acknowledge::Events(ids) => {
            let entries = find(hub, client, &ids, &may_read).await?;
            let asking = entries.iter().filter(|entry| entry.event.head.require_ack);
            let asking: Vec<_> = asking.map(|entry| entry.event.head.id.clone()).collect();
            let positions = entries.iter().map(|entry| entry.position);
            (Settle::Events(positions.collect()), asking)
        }
    };
    let record = hub.clients.preview(client, &settle, now);
    let record = record.map_err(|TooFarAhead(window)| {
        let expected = format!(
            "at most {window} events beyond the oldest that is not acknowledged, or a cursor"
        );
        Invalid::field("event_ids", expected)
    })?;
    let cursor = record.as_ref().map(|record| record.cursor);
    let (mut changes, mut news) = (Vec::new(), Vec::new());
    for (event, known) in receipts_of(hub, asking, may_read).await? {
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
    for connection in hub.clients.settle(client, &settle, now) {
        hub.connections.wake(connection);
    }
    Ok(Acknowledged { receipts, cursor })
}

/// The receipts of those events that are in the log, on topics that `counts`
/// accepts: of what retention has removed nothing is stored or told any more.
async fn receipts_of(
    hub: &Shared,
    events: Vec<EventId>,
    counts: impl Fn(&Topic) -> bool,
) -> Result<Vec<(EventId, Vec<Receipt>)>, LogError> {
    let mut known = Vec::with_capacity(events.len());
    for event in &events {
        known.push(hub.log.receipts(event.clone()).await?);
    }
    // Only now: what is there still was there before.
    let found = hub.log.find(events.clone()).await?;
    let known = events.into_iter().zip(known).zip(found);
    let counted =
        known.filter_map(|(known, entry)| counts(&entry?.event.head.topic).then_some(known));
    Ok(counted.collect())
}

/// The events that a client names, all of which have to be its to acknowledge.
async fn find(
    hub: &Shared,
    client: &ClientId,
    ids: &[EventId],
    may_read: impl Fn(&Topic) -> bool,
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
            let head = &entry.event.head;
            let audience = head.audience.as_ref();
            may_read(&head.topic)
                && audience.is_none_or(|a| hub.groups.includes(a, client, entry.position))
        });
        let field = format!("event_ids[{index}]");
        match its {
            // Named twice, acknowledged once.
            Some(entry) if entries.iter().any(|e: &Entry| e.position == entry.position) => {}
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
