use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use notification_event::{Cursor, TaskId};
use notification_hub::{Caller, End, Start, StreamControl, StreamOrder};
use rmcp::model::InitializeRequestParams;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::level::Level;
use super::reply::Reply;
use super::wording::LogMessages;
use crate::message::Message;
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::watches::{Listener, MAX_WATCHED, TooMany, Watched, Watches, Watching};

/// How many calls of one session may run at once.
const MAX_CALLS: usize = 100;

/// How much of what calls were answered with is kept of one session: so many
/// bytes, and so many replies.
const MAX_KEPT_BYTES: usize = 1 << 18;
const MAX_KEPT: usize = 100;

/// For how long.
const KEPT_FOR: Duration = Duration::from_secs(300);

/// A client that began with `initialize`.
#[derive(Debug)]
pub(crate) struct Session {
    /// Whose it is, by name.
    principal: Arc<str>,
    /// What was agreed on.
    pub(crate) peer: InitializeRequestParams,
    pub(crate) wording: Arc<LogMessages>,
    /// Where the log was when it began.
    began_at: Cursor,
    /// Its GET stream, if one is open.
    control: Arc<StreamControl>,
    /// What it wants to hear of beside the events.
    watching: Watching,
    // A std mutex: held for lookups, never across an await.
    state: Mutex<State>,
    /// All that it has begun ends with it.
    end: CancellationToken,
}

#[derive(Debug)]
struct State {
    last_used: Instant,
    next_reply: u64,
    replies: VecDeque<Arc<Reply>>,
    /// The calls that run, by the text of their ids.
    running: HashMap<String, CancellationToken>,
}

impl Session {
    pub(crate) fn new(
        caller: &Caller,
        peer: InitializeRequestParams,
        began_at: Cursor,
        watches: &Arc<Watches>,
    ) -> Self {
        let control = Arc::<StreamControl>::default();
        let watching = watches.join(caller.clone(), Asides(control.clone()));
        // Who has a session is told without asking (revision 2025-11-25,
        // Resources, "List Changed Notification").
        let listed = watching.watch(Watched::List, "");
        debug_assert!(listed.is_ok(), "it is the first");
        Self {
            principal: caller.principal().name.clone(),
            wording: LogMessages::of(peer.protocol_version.as_str()),
            peer,
            began_at,
            control,
            watching,
            state: Mutex::new(State {
                last_used: Instant::now(),
                next_reply: 0,
                replies: VecDeque::new(),
                running: HashMap::new(),
            }),
            end: CancellationToken::new(),
        }
    }

    pub(crate) fn is_of(&self, principal: &str) -> bool {
        *self.principal == *principal
    }

    /// Takes note that its client is there, with this credential.
    pub(crate) fn used(&self, caller: &Caller) {
        self.state().last_used = Instant::now();
        self.watching.is_now(caller);
    }

    pub(crate) fn principal(&self) -> &str {
        &self.principal
    }

    /// Since when nothing was heard of its client; none while a stream of it is
    /// open or a call runs. Forgets what was answered long ago.
    pub(crate) fn look_after(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        let is_old = |reply: &Reply| reply.completed_at().is_some_and(|at| now >= at + KEPT_FOR);
        state.replies.retain(|reply| !is_old(reply));
        if self.control.is_open() || !state.running.is_empty() {
            state.last_used = now;
            return None;
        }
        Some(state.last_used)
    }

    /// How its stream is opened. What was published before the first one, since it
    /// began, is on it; another one goes on where the last one was.
    pub(crate) fn stream(&self) -> StreamOrder {
        let start = self.control.left_at().unwrap_or(self.began_at);
        StreamOrder {
            transport: "mcp",
            wording: self.wording.clone(),
            start: Start::After(start),
            filter: None,
            control: self.control.clone(),
        }
    }

    /// From now on only what is at least so severe is sent.
    pub(crate) fn set_level(&self, level: Level) {
        self.control.give_only(level.and_above());
    }

    /// From now on its client is told when what is at this URI changes.
    pub(crate) fn subscribe(&self, resource: Resource, uri: &str) -> Result<(), Refusal> {
        let watched = self.watching.watch(Watched::Resource(resource), uri);
        watched.map_err(|TooMany| Refusal::too_many_watched(MAX_WATCHED))
    }

    /// And now not any more.
    pub(crate) fn unsubscribe(&self, resource: Resource, uri: &str) {
        self.watching.unwatch(Watched::Resource(resource), uri);
    }

    /// A call begins: what it is answered with, and what tells it to end.
    pub(crate) fn begin_call(self: &Arc<Self>, id: &Value) -> Result<Call, Refusal> {
        let key = id.to_string();
        let mut state = self.state();
        if state.running.len() >= MAX_CALLS {
            return Err(Refusal::too_many_calls(MAX_CALLS));
        }
        if state.running.contains_key(&key) {
            let message = "`id` is that of a call that runs in this session";
            return Err(Refusal::invalid_request(message));
        }
        let reply = Arc::new(Reply::new(state.next_reply));
        state.next_reply += 1;
        state.replies.push_back(reply.clone());
        state.forget_replies();
        let stop = self.end.child_token();
        state.running.insert(key.clone(), stop.clone());
        drop(state);
        Ok(Call {
            session: self.clone(),
            key,
            reply,
            stop,
        })
    }

    /// Takes note of what its client says without asking for an answer.
    pub(crate) fn notified(&self, message: &Message) {
        if message.method == "notifications/cancelled" {
            self.cancel(&message.params["requestId"]);
        }
    }

    /// Has a call end, if it runs.
    fn cancel(&self, id: &Value) {
        let running = self.state().running.get(&id.to_string()).cloned();
        if let Some(stop) = running {
            stop.cancel();
        }
    }

    /// Nobody will ask for this any more: it was answered at once.
    pub(crate) fn forget(&self, reply: &Reply) {
        let number = reply.number();
        self.state()
            .replies
            .retain(|reply| reply.number() != number);
    }

    /// What the call with this number is, or was, answered with.
    pub(crate) fn reply(&self, number: u64) -> Option<Arc<Reply>> {
        let state = self.state();
        let mut replies = state.replies.iter();
        replies.find(|reply| reply.number() == number).cloned()
    }

    /// Ends its stream and its calls.
    pub(crate) fn end(&self, reason: &'static str) {
        self.end.cancel();
        self.control.end(End::Over(reason));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

/// Says what has changed on a session's stream.
struct Asides(Arc<StreamControl>);

impl Asides {
    fn say(&self, message: &Value) {
        self.0.say(format!("data: {message}\n\n").into());
    }
}

impl Listener for Asides {
    fn list_changed(&self) {
        let method = "notifications/resources/list_changed";
        self.say(&json!({ "jsonrpc": "2.0", "method": method }));
    }

    /// Clients with a session are not told: they have no way to ask for it.
    fn event_types_changed(&self) {}

    fn resource_updated(&self, uri: &str) {
        let method = "notifications/resources/updated";
        let params = json!({ "uri": uri });
        self.say(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Handles of tasks are for clients without a session.
    fn task_changed(&self, _: &TaskId) {}
}

impl State {
    /// The oldest replies go, but for those that are not complete.
    fn forget_replies(&mut self) {
        let mut bytes: usize = self.replies.iter().map(|reply| reply.size()).sum();
        let mut count = self.replies.len();
        self.replies.retain(|reply| {
            let is_too_much = count > MAX_KEPT || bytes > MAX_KEPT_BYTES;
            if is_too_much && reply.completed_at().is_some() {
                count -= 1;
                bytes -= reply.size();
                return false;
            }
            true
        });
    }
}

/// A call of a session that runs, until it is dropped.
#[derive(Debug)]
pub(crate) struct Call {
    session: Arc<Session>,
    key: String,
    pub(crate) reply: Arc<Reply>,
    /// It is to end.
    pub(crate) stop: CancellationToken,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.reply.complete();
        let mut state = self.session.state();
        state.running.remove(&self.key);
        state.last_used = Instant::now();
    }
}
