use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use notification_event::{Cursor, Delivery, EventName, Selector, Status};
use notification_hub::{
    Caller, Declared, End, Frame, Hub, Start, StreamControl, StreamOrder, Wording,
};
use rmcp::model::ErrorData;
use serde_json::{Value, json};

use super::errors::ErrorCodes;
use super::wanted::{Wanted, refused};
use crate::Identity;

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// Why the server ends a stream of a type that is not what it was. What is said
/// then is found by this.
const REMOVED: &str = "the event type is not declared any more";
const CHANGED: &str = "the event type has changed";

/// The open streams of events, so that they end when their type is not what it was.
#[derive(Debug, Default)]
pub(super) struct Pushed {
    // A std mutex: held for lookups, never across an await.
    open: Mutex<Vec<Open>>,
}

#[derive(Debug)]
struct Open {
    name: EventName,
    revision: u64,
    control: Weak<StreamControl>,
    words: Weak<Occurrences>,
}

/// Says events as occurrences of their type (SEP-3415, "Push-Based Delivery").
#[derive(Debug)]
pub(super) struct Occurrences {
    /// The id of the request, as JSON.
    subscription: Value,
    /// What every occurrence begins with.
    prefix: String,
    declared: Arc<Declared>,
    selector: Selector,
    /// What it begins with is later than what was asked for.
    truncated: bool,
    heartbeat: Duration,
    codes: ErrorCodes,
    identity: Identity,
    /// Why it was ended, if its type is not what it was.
    ended: Mutex<Option<ErrorData>>,
}

impl Pushed {
    /// `events/stream`: how the stream is opened that it asks for.
    pub(super) async fn stream(
        &self,
        caller: &Caller,
        id: &Value,
        params: &Value,
        heartbeat: Duration,
        codes: ErrorCodes,
        identity: Identity,
    ) -> Result<StreamOrder, ErrorData> {
        let wanted = Wanted::read(caller, params, Delivery::Push, codes)?;
        // Refused here, as an error of this protocol, if it would be later.
        let filter = caller.readable(wanted.filter());
        let filter = filter.map_err(|error| refused(error.into(), codes))?;
        let beginning = caller.hub().find(wanted.start(), wanted.not_before()).await;
        let beginning = beginning.map_err(|error| refused(error.into(), codes))?;
        let words = Arc::new(Occurrences {
            subscription: id.clone(),
            prefix: format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/events/event","params":{{"_meta":{{"{SUBSCRIPTION}":{id}}},"#
            ),
            truncated: beginning.truncated || wanted.is_foreign,
            heartbeat,
            codes,
            identity,
            ended: Mutex::default(),
            selector: wanted.selector,
            declared: wanted.declared,
        });
        let control = Arc::<StreamControl>::default();
        let mut open = self.open();
        open.retain(|open| open.control.strong_count() > 0);
        open.push(Open {
            name: words.declared.declaration.name.clone(),
            revision: words.declared.revision,
            control: Arc::downgrade(&control),
            words: Arc::downgrade(&words),
        });
        drop(open);
        Ok(StreamOrder {
            transport: "mcp-events",
            wording: words,
            start: Start::After(beginning.cursor),
            filter: Some(filter),
            control,
        })
    }

    /// Ends the streams whose event type is gone, or is not what they rely on.
    pub(super) fn look(&self, hub: &Hub) {
        let mut open = self.open();
        open.retain(|open| open.control.strong_count() > 0);
        for it in open.iter() {
            let (Some(control), Some(words)) = (it.control.upgrade(), it.words.upgrade()) else {
                continue;
            };
            let (error, reason) = match hub.event_type(&it.name) {
                None => (words.codes.no_event(it.name.as_str()), REMOVED),
                Some(now) if now.revision != it.revision => match now.broke {
                    Some(what) => (words.codes.has_changed(&it.name, what), CHANGED),
                    // Taken back and declared again.
                    None => (words.codes.no_event(it.name.as_str()), REMOVED),
                },
                Some(_) => continue,
            };
            *words.ended.lock().expect("no holder panics") = Some(error);
            control.end(End::Over(reason));
        }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Open>> {
        self.open.lock().expect("no holder panics")
    }
}

impl Occurrences {
    fn notification(&self, method: &str, mut params: Value) -> String {
        params["_meta"] = json!({ SUBSCRIPTION: self.subscription });
        let method = format!("notifications/events/{method}");
        json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string()
    }

    fn active(&self, cursor: Cursor, truncated: bool) -> String {
        self.notification(
            "active",
            json!({ "cursor": cursor, "truncated": truncated }),
        )
    }

    /// The end, as the answer to the request.
    fn result(&self) -> String {
        let meta = json!({
            SUBSCRIPTION: self.subscription,
            "io.modelcontextprotocol/serverInfo": self.identity.to_json(),
        });
        let result = json!({ "resultType": "complete", "_meta": meta });
        json!({ "jsonrpc": "2.0", "id": self.subscription, "result": result }).to_string()
    }

    /// That it ends for a reason, and the end: two messages, each the data of its own.
    fn terminated(&self, error: &ErrorData) -> String {
        let terminated = self.notification("terminated", json!({ "error": error }));
        format!("{terminated}\n\ndata: {}", self.result())
    }
}

impl Wording for Occurrences {
    fn event(&self, frame: &Frame, line: &mut BytesMut) -> bool {
        let occurrence = self.declared.occurrence(frame);
        let Some(occurrence) = occurrence.filter(|it| self.selector.selects(&it.data)) else {
            return false;
        };
        line.put_slice(self.prefix.as_bytes());
        // Without the bracket that opens it, which the prefix has.
        line.put_slice(&occurrence.json().as_bytes()[1..]);
        line.put_slice(b"}");
        true
    }

    fn size(&self, frame: &Frame) -> usize {
        let said = self.declared.occurrence(frame);
        said.map_or(0, |it| self.prefix.len() + it.json().len() + 16)
    }

    fn status(&self, status: &Status, _: &str) -> Option<String> {
        match status {
            Status::Gap { cursor, .. } => Some(self.active(*cursor, true)),
            Status::Closing { .. } => {
                let ended = self.ended.lock().expect("no holder panics").take();
                Some(match ended {
                    Some(error) => self.terminated(&error),
                    None => self.result(),
                })
            }
            Status::Unauthorized { reason } => {
                Some(self.terminated(&self.codes.may_not(reason.clone())))
            }
            // Only messages of the extension ride on its streams.
            Status::Connected { .. }
            | Status::SnapshotComplete { .. }
            | Status::Conflated { .. }
            | Status::Paused { .. }
            | Status::CredentialExpiring { .. } => None,
        }
    }

    fn opening(&self, cursor: Cursor) -> Option<String> {
        Some(self.active(cursor, self.truncated))
    }

    fn heartbeat(&self, cursor: Cursor) -> Option<String> {
        Some(self.notification("heartbeat", json!({ "cursor": cursor })))
    }

    fn silence(&self) -> Option<Duration> {
        Some(self.heartbeat)
    }

    fn has_ids(&self) -> bool {
        false
    }

    fn is_shared(&self) -> bool {
        false
    }
}
