use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use notification_event::{Cursor, EventId, Position, Timestamp};
use notification_hub::{Declared, Frame};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::shared::Shared;
use crate::webhook::{Wanted, Webhook};
use crate::{Attempt, Outcome};

/// How large a body may be, in bytes (SEP-3415, "Webhook-Based Delivery").
pub(crate) const MAX_BODY: usize = 256 << 10;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const SUBSCRIPTION: HeaderName = HeaderName::from_static("x-mcp-subscription-id");

/// Something that a webhook is to be sent.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// An event.
    Event(Arc<Frame>),
    /// One that was given up before.
    Again(Arc<Frame>),
    /// That events may be missing before this.
    Gap(Cursor),
    /// That nothing more comes.
    Terminated(Value),
    /// That somebody wants to see whether it works.
    Test,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sent {
    /// It was taken.
    Taken,
    /// It was given up.
    GivenUp { attempts: u32, outcome: Outcome },
    /// The server stops, and it is as it was.
    Stopped,
}

impl Item {
    /// The event it is about.
    pub(crate) fn event(&self) -> Option<&EventId> {
        match self {
            Self::Event(frame) | Self::Again(frame) => Some(&frame.head.id),
            Self::Gap(_) | Self::Terminated(_) | Self::Test => None,
        }
    }

    /// Its place in the log, if it is seen to when it is sent.
    pub(crate) fn position(&self) -> Option<Position> {
        match self {
            Self::Event(frame) => Some(frame.position),
            _ => None,
        }
    }

    /// What receivers know it by: the same at every attempt (Standard Webhooks,
    /// "Webhook headers").
    fn id(&self) -> String {
        let of_kind = |kind: &str| format!("msg_{kind}_{}", Uuid::new_v4().simple());
        match self {
            Self::Event(frame) | Self::Again(frame) => frame.head.id.to_string(),
            Self::Gap(_) => of_kind("gap"),
            Self::Terminated(_) => of_kind("terminated"),
            Self::Test => of_kind("test"),
        }
    }

    fn body(&self, declared: Option<&Declared>, watermark: Cursor) -> Bytes {
        match self {
            Self::Event(frame) | Self::Again(frame) => match declared {
                Some(declared) => occurrence(frame, declared, watermark),
                None => Bytes::copy_from_slice(frame.json()),
            },
            Self::Gap(cursor) => json!({ "type": "gap", "cursor": cursor })
                .to_string()
                .into(),
            Self::Terminated(error) => json!({ "type": "terminated", "error": error })
                .to_string()
                .into(),
            Self::Test => json!({ "type": "test", "message": "This is a test." })
                .to_string()
                .into(),
        }
    }
}

/// An event as an occurrence of its type, with the place up to which everything was
/// seen to in the place of its own (SEP-3415, "Webhook-Based Delivery").
fn occurrence(frame: &Frame, declared: &Declared, watermark: Cursor) -> Bytes {
    let said = declared.occurrence(frame).map_or("", |it| it.json());
    let own = format!("\"{}\"}}", frame.cursor());
    match said.strip_suffix(&own) {
        Some(said) => format!("{said}\"{watermark}\"}}").into(),
        None => Bytes::copy_from_slice(said.as_bytes()),
    }
}

/// Sends something until it is taken or given up.
pub(crate) async fn deliver(
    shared: Arc<Shared>,
    webhook: Arc<Webhook>,
    declared: Option<Arc<Declared>>,
    item: Item,
) -> (Item, Sent) {
    let id = item.id();
    shared.metrics.in_flight.inc();
    let _guard = Decrease(&shared);
    let first = Instant::now();
    let mut number = 0;
    let sent = loop {
        number += 1;
        let attempt = attempt(&shared, &webhook, declared.as_deref(), &item, &id, number);
        let Some((outcome, retry_after)) = shared.stop.run_until_cancelled(attempt).await else {
            break Sent::Stopped;
        };
        let given_up = Sent::GivenUp {
            attempts: number,
            outcome,
        };
        if outcome.is_delivered() {
            break Sent::Taken;
        }
        if outcome.is_final() {
            break given_up;
        }
        let retry = &shared.config.retry;
        let Some(wait) = retry.wait(number, first.elapsed(), retry_after) else {
            break given_up;
        };
        let waited = shared.stop.run_until_cancelled(tokio::time::sleep(wait));
        if waited.await.is_none() {
            break Sent::Stopped;
        }
    };
    (item, sent)
}

struct Decrease<'a>(&'a Shared);

impl Drop for Decrease<'_> {
    fn drop(&mut self) {
        self.0.metrics.in_flight.dec();
    }
}

/// Sends something once, and takes note of what became of it.
pub(crate) async fn attempt(
    shared: &Arc<Shared>,
    webhook: &Arc<Webhook>,
    declared: Option<&Declared>,
    item: &Item,
    id: &str,
    number: u32,
) -> (Outcome, Option<Duration>) {
    let (endpoint, destination) = {
        let of = &webhook.state().of;
        (of.endpoint.clone(), of.destination.clone())
    };
    let permit = destination.admit().await;
    let (now, began) = (now(), Instant::now());
    let (headers, body) = {
        let state = webhook.state();
        let body = item.body(declared, state.watermark);
        let mut signatures = state.of.signing(now);
        let headers = sign(shared, webhook, &mut signatures, id, now, &body);
        drop(signatures);
        (headers, body)
    };
    let sent = match body.len() > MAX_BODY {
        true => None,
        false => Some(shared.client.post(&endpoint, headers, body, false).await),
    };
    drop(permit);
    let outcome = sent.as_ref().map_or(Outcome::TooLarge, Outcome::of);
    if sent.is_some() {
        destination.answered(!outcome.is_unreachable());
    }
    let retry_after = sent.and_then(|sent| sent.ok()?.retry_after);
    let retry_after = retry_after.filter(|_| !outcome.is_final());
    let attempt = Attempt {
        id: id.to_owned(),
        number,
        at: now,
        took: began.elapsed(),
        outcome,
    };
    shared.metrics.attempt(outcome);
    let took = attempt.took.as_secs_f64();
    shared.metrics.attempt_seconds.observe(took);
    tracing::debug!(webhook = %webhook.id, id, number, outcome = outcome.as_str(), "attempt");
    let mut state = webhook.state();
    state.remember(attempt);
    let suspension = &shared.config.suspension;
    let way = state.health.note(outcome, retry_after, now, suspension);
    let is_suspended = state.health.suspended_at.is_some();
    if way == Some(100) {
        state.unsaved.place = true;
    }
    drop(state);
    if let Some(percent) = way {
        shared.say_failing(webhook, percent, outcome);
    }
    if is_suspended {
        webhook.attention.notify_one();
    }
    (outcome, retry_after)
}

/// What says who sent a message, and when (Standard Webhooks, "Webhook headers").
pub(crate) fn sign(
    shared: &Shared,
    webhook: &Webhook,
    secrets: &mut dyn Iterator<Item = &crate::Secret>,
    id: &str,
    now: Timestamp,
    body: &[u8],
) -> HeaderMap {
    let seconds = u64::try_from(now.as_millis() / 1_000).unwrap_or_default();
    let signatures = secrets.map(|secret| secret.sign(id, seconds, body));
    let own = shared.config.sign_with_key;
    let own = own.then(|| shared.key.sign(id, seconds, body));
    let signatures: Vec<_> = signatures.chain(own).collect();
    let text = |text: &str| HeaderValue::from_str(text).expect("it is ASCII");
    let mut headers = HeaderMap::new();
    headers.insert(ID, text(id));
    headers.insert(TIMESTAMP, seconds.into());
    headers.insert(SIGNATURE, text(&signatures.join(" ")));
    if webhook.is_subscription {
        headers.insert(SUBSCRIPTION, text(&webhook.id));
    }
    headers
}

/// The event type that a webhook is sent occurrences of; none if it is sent events.
/// False if it is not what the webhook relies on any more.
pub(crate) fn declared(
    shared: &Shared,
    wanted: &Wanted,
) -> Result<Option<Arc<Declared>>, crate::Ending> {
    let Wanted::EventType { name, revision, .. } = wanted else {
        return Ok(None);
    };
    let removed = || crate::Ending::Removed(name.clone());
    let declared = shared.hub.event_type(name).ok_or_else(removed)?;
    match declared.revision == *revision {
        true => Ok(Some(declared)),
        false => Err(match declared.broke {
            Some(what) => crate::Ending::Changed(name.clone(), what),
            None => removed(),
        }),
    }
}

/// Sends a last word, as often as any event, on a task of its own.
pub(crate) fn say_last(shared: &Arc<Shared>, webhook: &Arc<Webhook>, error: Value) {
    let delivery = deliver(
        shared.clone(),
        webhook.clone(),
        None,
        Item::Terminated(error),
    );
    shared.tasks.spawn(delivery.map(drop));
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
