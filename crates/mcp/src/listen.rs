use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use http::Response;
use http::request::Parts;
use http_body::Frame;
use http_body_util::StreamBody;
use notification_access::Slot;
use notification_event::TaskId;
use notification_hub::Caller;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::Identity;
use crate::body::{Body, boxed};
use crate::message::Message;
use crate::metadata;
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::stream;
use crate::task_handle;
use crate::watches::{Listener, MAX_WATCHED, TooMany, Watched, Watches, Watching};

/// How often it is looked whether the credential is still good. What is said is
/// held against it every time.
const LOOK: Duration = Duration::from_secs(5);

/// Answers `subscriptions/listen`: a stream of what changes (revision 2026-07-28,
/// "Subscriptions"). `rmcp` would need four tasks for each. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Listening {
    watches: Arc<Watches>,
    identity: Identity,
    /// The streams end, and say so.
    stop: CancellationToken,
    open: TaskTracker,
}

/// What a client wants to hear of.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Wanted {
    #[serde(skip_serializing_if = "is_false")]
    resources_list_changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_subscriptions: Option<Vec<String>>,
    /// Of the extension for events.
    #[serde(skip_serializing_if = "is_false")]
    events_list_changed: bool,
    /// Of the extension for tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    task_ids: Option<Vec<String>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Listening {
    pub(crate) fn new(watches: Arc<Watches>, identity: Identity, stop: CancellationToken) -> Self {
        Self {
            watches,
            identity,
            stop,
            open: TaskTracker::new(),
        }
    }

    /// How many streams are open.
    pub(crate) fn count(&self) -> usize {
        self.open.len()
    }

    /// Opens the stream that a request asks for.
    pub(crate) async fn open(
        &self,
        parts: &Parts,
        message: &Message,
    ) -> Result<Response<Body>, Refusal> {
        let caller = Refusal::unless_known(parts)?;
        let wanted = read(message)?;
        let slot = caller.admit_stream().map_err(Refusal::refused)?;
        let news = Arc::<News>::default();
        let watching = self.watches.join(caller.clone(), news.clone());
        let honoured = watch(&caller, &watching, wanted).await?;
        let said = Said {
            id: message.id.clone().unwrap_or_default(),
            identity: self.identity.clone(),
            first: Some(honoured),
            news,
            caller,
            stop: self.stop.clone(),
            has_ended: false,
            _held: (watching, slot, self.open.token()),
        };
        let texts = unfold(said, async |mut said| {
            let text = said.next().await?;
            Some((Ok::<_, Infallible>(Frame::data(text)), said))
        });
        Ok(stream::of_messages(boxed(StreamBody::new(texts))))
    }
}

fn read(message: &Message) -> Result<Wanted, Refusal> {
    let wanted = message.params.get("notifications");
    let misfit = |reason: &str| {
        let message = format!(
            "invalid params for {}: notifications: {reason}",
            message.method
        );
        Refusal::invalid_params(message)
    };
    let wanted = wanted.ok_or_else(|| misfit("expected an object, which is required"))?;
    let wanted = Wanted::deserialize(wanted).map_err(|error| misfit(&error.to_string()))?;
    for (field, count) in [
        (
            "resourceSubscriptions",
            wanted.resource_subscriptions.as_ref().map_or(0, Vec::len),
        ),
        ("taskIds", wanted.task_ids.as_ref().map_or(0, Vec::len)),
    ] {
        if count > MAX_WATCHED {
            return Err(misfit(&format!(
                "{field}: expected at most {MAX_WATCHED}, got {count}"
            )));
        }
    }
    if wanted.task_ids.is_some() && !metadata::takes_tasks(message) {
        return Err(Refusal::missing_tasks_capability());
    }
    Ok(wanted)
}

/// Watches what is wanted, as far as whoever asks may, and says what that is.
async fn watch(caller: &Caller, watching: &Watching, wanted: Wanted) -> Result<Wanted, Refusal> {
    let full = |TooMany| Refusal::too_many_watched(MAX_WATCHED);
    if wanted.resources_list_changed {
        watching.watch(Watched::List, "").map_err(full)?;
    }
    if wanted.events_list_changed {
        watching.watch(Watched::EventTypes, "").map_err(full)?;
    }
    let mut honoured = Wanted {
        resources_list_changed: wanted.resources_list_changed,
        events_list_changed: wanted.events_list_changed,
        ..Wanted::default()
    };
    if let Some(uris) = wanted.resource_subscriptions {
        let honoured = honoured.resource_subscriptions.insert(Vec::new());
        for uri in uris {
            if let Ok(resource) = Resource::to_watch(caller, &uri) {
                watching
                    .watch(Watched::Resource(resource), &uri)
                    .map_err(full)?;
                honoured.push(uri);
            }
        }
    }
    if let Some(ids) = wanted.task_ids {
        let honoured = honoured.task_ids.insert(Vec::new());
        for id in ids {
            if let Ok(task) = task_handle::get(caller, &id).await
                && let Ok(known) = task.task.task_id.parse()
            {
                watching.watch(Watched::Status(known), "").map_err(full)?;
                honoured.push(id);
            }
        }
    }
    Ok(honoured)
}

/// What is to be said, each once however often it has changed.
#[derive(Debug, Default)]
struct News {
    changed: Mutex<Changed>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Changed {
    list: bool,
    event_types: bool,
    uris: BTreeSet<String>,
    tasks: BTreeSet<TaskId>,
}

impl News {
    fn changed(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().expect("no holder panics")
    }
}

impl Listener for Arc<News> {
    fn list_changed(&self) {
        self.changed().list = true;
        self.more.notify_one();
    }

    fn event_types_changed(&self) {
        self.changed().event_types = true;
        self.more.notify_one();
    }

    fn resource_updated(&self, uri: &str) {
        self.changed().uris.insert(uri.to_owned());
        self.more.notify_one();
    }

    fn task_changed(&self, id: &TaskId) {
        self.changed().tasks.insert(id.clone());
        self.more.notify_one();
    }
}

/// The stream's texts.
struct Said {
    id: Value,
    identity: Identity,
    /// What was agreed on, before that was said.
    first: Option<Wanted>,
    news: Arc<News>,
    caller: Caller,
    stop: CancellationToken,
    has_ended: bool,
    _held: (Watching, Slot, TaskTrackerToken),
}

impl Said {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(honoured) = self.first.take() {
            let method = "notifications/subscriptions/acknowledged";
            return Some(self.notification(method, json!({ "notifications": honoured })));
        }
        if self.has_ended {
            return None;
        }
        let mut looks = interval(LOOK);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    self.has_ended = true;
                    return Some(self.result());
                }
                () = self.news.more.notified() => {
                    let changed = std::mem::take(&mut *self.news.changed());
                    let text = self.words(changed).await;
                    if !text.is_empty() {
                        return Some(text);
                    }
                }
                _ = looks.tick() => {}
            }
            if !self.caller.is_vouched_for() {
                self.has_ended = true;
                return Some(self.lapsed());
            }
        }
    }

    async fn words(&self, changed: Changed) -> Bytes {
        let mut text = Vec::new();
        if changed.list {
            let method = "notifications/resources/list_changed";
            text.extend(self.notification(method, json!({})));
        }
        if changed.event_types {
            let method = "notifications/events/list_changed";
            text.extend(self.notification(method, json!({})));
        }
        for uri in changed.uris {
            let method = "notifications/resources/updated";
            text.extend(self.notification(method, json!({ "uri": uri })));
        }
        for id in changed.tasks {
            // Whoever may not see it any more, or if it is forgotten: no word of it.
            if let Ok(task) = task_handle::get(&self.caller, id.as_str()).await {
                let task = serde_json::to_value(task).expect("tasks are JSON");
                text.extend(self.notification("notifications/tasks", task));
            }
        }
        text.into()
    }

    fn notification(&self, method: &str, mut params: Value) -> Bytes {
        params["_meta"] = json!({ "io.modelcontextprotocol/subscriptionId": self.id });
        sse(&json!({ "jsonrpc": "2.0", "method": method, "params": params }))
    }

    fn result(&self) -> Bytes {
        let meta = json!({
            "io.modelcontextprotocol/subscriptionId": self.id,
            "io.modelcontextprotocol/serverInfo": self.identity.to_json(),
        });
        let result = json!({ "resultType": "complete", "_meta": meta });
        sse(&json!({ "jsonrpc": "2.0", "id": self.id, "result": result }))
    }

    fn lapsed(&self) -> Bytes {
        let error = json!({ "code": -32024, "message": "the credential is no longer good" });
        sse(&json!({ "jsonrpc": "2.0", "id": self.id, "error": error }))
    }
}

/// JSON has no line breaks of its own.
fn sse(message: &Value) -> Bytes {
    format!("data: {message}\n\n").into()
}
