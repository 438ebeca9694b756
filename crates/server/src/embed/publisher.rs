use std::sync::Arc;

use notification_event::{ClientId, Draft, Filter, GroupName, Invalid, ParseError, TaskId};
use notification_hub::{Caller, Hub, PageRequest, PublishError, Published, ReadError, Start};
use serde_json::{Map, Value, json};

/// How many events are read at once.
const PAGE: usize = 500;

/// Publishes, in somebody's name. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    caller: Caller,
    /// What a job is called that does not say.
    name: Arc<str>,
}

/// Why nothing was published, or read.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It is no event.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// A client, a group or a cursor is none.
    #[error(transparent)]
    Name(#[from] ParseError),
    /// The log did not take it, or one may not.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// There are too many memberships of groups.
    #[error("there are too many memberships of groups")]
    TooManyMemberships,
    /// The log cannot be read, or one may not.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Publisher {
    pub(super) fn new(caller: Caller, name: Option<&str>) -> Self {
        Self {
            caller,
            name: name.unwrap_or("task").into(),
        }
    }

    /// Publishes an event, as it is written on the wire: `{"type": "notification",
    /// "message": …}`, `{"type": "progress", "task_id": …, "progress": …}` or
    /// `{"type": "event", "name": …, "data": …}`. Then it is committed. A job that
    /// does not say its `task_name` is called as the tool is.
    pub async fn send_data(&self, event: Value) -> Result<Published, SendError> {
        self.send(event, None).await
    }

    /// Tells everyone something.
    pub async fn notify(&self, message: &str) -> Result<Published, SendError> {
        self.send_data(json!({"type": "notification", "message": message}))
            .await
    }

    /// Publishes an event for one client, and nobody else.
    pub async fn send_to_client(&self, client: &str, event: Value) -> Result<Published, SendError> {
        self.send_to_clients(&[client], event).await
    }

    /// Publishes an event for some clients, and nobody else.
    pub async fn send_to_clients<C: AsRef<str>>(
        &self,
        clients: &[C],
        event: Value,
    ) -> Result<Published, SendError> {
        let clients: Vec<_> = clients.iter().map(AsRef::as_ref).collect();
        self.send(event, Some(json!({"clients": clients}))).await
    }

    /// Publishes an event for the clients that are in a group, and nobody else.
    pub async fn send_to_group(&self, group: &str, event: Value) -> Result<Published, SendError> {
        self.send(event, Some(json!({"groups": [group]}))).await
    }

    /// Puts a client into a group, for events that are published from now on.
    /// False if it was in it.
    pub async fn join_group(&self, group: &str, client: &str) -> Result<bool, SendError> {
        let group: GroupName = group.parse()?;
        let client: ClientId = client.parse()?;
        let joined = self.caller.join_group(group, client).await;
        joined.map_err(|error| match error {
            notification_hub::GroupError::Publish(error) => error.into(),
            notification_hub::GroupError::TooMany => SendError::TooManyMemberships,
        })
    }

    /// Says how far a job is: a percentage of it, with a message. It ends with
    /// 100, or as its `state` says; see [`send_data`](Self::send_data) for all else.
    pub async fn report(
        &self,
        task_id: &str,
        percent: f64,
        message: &str,
    ) -> Result<Published, SendError> {
        let _: TaskId = task_id.parse()?;
        self.send_data(json!({
            "type": "progress", "task_id": task_id, "progress": percent, "message": message,
        }))
        .await
    }

    /// What is kept for clients that are away.
    #[must_use]
    pub fn message_store(&self) -> MessageStore {
        MessageStore {
            publisher: self.clone(),
        }
    }

    /// The hub, to subscribe and for all else.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        self.caller.hub()
    }

    async fn send(&self, event: Value, audience: Option<Value>) -> Result<Published, SendError> {
        let event = match event {
            Value::Object(mut event) => {
                self.name_job(&mut event);
                if let Some(audience) = audience {
                    event.insert("audience".to_owned(), audience);
                }
                Value::Object(event)
            }
            other => other,
        };
        let draft = Draft::parse(event)?;
        Ok(self.caller.publish_one(draft).await?)
    }

    fn name_job(&self, event: &mut Map<String, Value>) {
        if event.get("type").is_some_and(|it| it == "progress") {
            let name = event.entry("task_name");
            name.or_insert_with(|| Value::String(self.name.to_string()));
        }
    }
}

/// The log, for clients that keep their place themselves. Those that connect over
/// HTTP resume by the cursor, and need nothing of this.
#[derive(Clone, Debug)]
pub struct MessageStore {
    publisher: Publisher,
}

impl MessageStore {
    /// Keeps an event, which is to publish it: then it is committed.
    pub async fn save(&self, event: Value) -> Result<Published, SendError> {
        self.publisher.send_data(event).await
    }

    /// What was published for a client after the event with this cursor; or all
    /// that is kept, if there is none. Each event has its `cursor`.
    pub async fn get_since(
        &self,
        client: &str,
        last_seen: Option<&str>,
    ) -> Result<Vec<Value>, SendError> {
        let client: ClientId = client.parse()?;
        let mut start = match last_seen {
            Some(cursor) => Start::After(cursor.parse()?),
            None => Start::Beginning,
        };
        let mut events = Vec::new();
        loop {
            let request = PageRequest {
                filter: Filter::default(),
                client: Some(client.clone()),
                start,
                limit: PAGE,
            };
            let page = self.publisher.caller.page(request).await?;
            for frame in &page.frames {
                let mut event: Value =
                    serde_json::from_slice(frame.json()).expect("events are JSON");
                event["cursor"] = frame.cursor().into();
                events.push(event);
            }
            if !page.has_more {
                return Ok(events);
            }
            start = Start::After(page.cursor);
        }
    }
}
