use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use notification_event::{Audience, Collapse, TaskId, Topic};
use notification_hub::{Caller, Follow, Followed, Frame, Hub};

use crate::resource::Resource;

/// How long what changes is put together before those who watch it are told: a
/// resource is said to have changed at most so often.
const PAUSE: Duration = Duration::from_millis(250);

/// How many resources one may watch.
pub(crate) const MAX_WATCHED: usize = 100;

/// How many topics are remembered to tell which are new.
const MAX_KNOWN: usize = 100_000;

/// Who wants to hear that what they can read has changed, and tells them.
///
/// Nothing is kept for them but what they are to look at again.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    // A std mutex: held for lookups, never across an await.
    state: Mutex<State>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// Who watches what.
    by_watched: HashMap<Watched, HashMap<Watch, Arc<Watcher>>>,
    /// What each watches, by its number.
    by_watcher: HashMap<u64, HashSet<(Watched, Arc<str>)>>,
}

/// Something that may change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Watched {
    /// The list of resources.
    List,
    /// What is at a URI.
    Resource(Resource),
    /// The event types that there are.
    EventTypes,
    /// The status of a task.
    Status(TaskId),
}

/// By whom something is watched, and what they call it.
type Watch = (u64, Arc<str>);

/// Somebody who watches, until it is dropped.
pub(crate) struct Watching {
    watches: Arc<Watches>,
    watcher: Arc<Watcher>,
}

/// Is told what has changed. Does not wait.
pub(crate) trait Listener: Send + Sync {
    /// What is listed is not what it was.
    fn list_changed(&self);
    /// The event types are not what they were.
    fn event_types_changed(&self);
    /// What is at this URI is not what it was.
    fn resource_updated(&self, uri: &str);
    /// A task is not where it was.
    fn task_changed(&self, id: &TaskId);
}

struct Watcher {
    number: u64,
    /// As whom: what they may not see does not change for them.
    caller: Mutex<Caller>,
    listener: Box<dyn Listener>,
}

/// There is no room for another resource to watch.
#[derive(Debug, PartialEq)]
pub(crate) struct TooMany;

impl Watches {
    /// Somebody who watches nothing yet.
    pub(crate) fn join(
        self: &Arc<Self>,
        caller: Caller,
        listener: impl Listener + 'static,
    ) -> Watching {
        let watcher = Watcher {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            caller: Mutex::new(caller),
            listener: Box::new(listener),
        };
        Watching {
            watches: self.clone(),
            watcher: Arc::new(watcher),
        }
    }

    /// Tells those who watch what has changed, as the log is written and streams
    /// come and go, until the hub closes.
    pub(crate) async fn tell(&self, hub: &Hub) {
        let mut news = News {
            follow: hub.follow(),
            known: None,
        };
        let mut connections = hub.connections_changed();
        let mut event_types = hub.event_types_changed();
        loop {
            tokio::select! {
                more = news.follow.changed() => match more {
                    true => {}
                    false => return,
                },
                _ = connections.changed() => connections.mark_changed(),
                _ = event_types.changed() => event_types.mark_changed(),
            }
            self.tell_of_events(&mut news);
            // Marked before it is told of, so that what changes meanwhile is told later.
            if connections.has_changed().unwrap_or_default() {
                connections.mark_unchanged();
                self.tell_of(
                    &Watched::Resource(Resource::Connections),
                    Caller::is_vouched_for,
                );
            }
            if event_types.has_changed().unwrap_or_default() {
                event_types.mark_unchanged();
                self.tell_of(&Watched::EventTypes, Caller::is_vouched_for);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn tell_of_events(&self, news: &mut News) {
        {
            let state = self.state();
            if state.by_watched.is_empty() {
                // Under the lock: who comes now watches from here on.
                news.skip();
                return;
            }
        }
        news.look_up_known();
        let Followed { frames, missed } = news.follow.read();
        if missed {
            let watched: Vec<_> = self.state().by_watched.keys().cloned().collect();
            for watched in watched {
                self.tell_of(&watched, Caller::is_vouched_for);
            }
            news.known = None;
            return;
        }
        let known = news.known.get_or_insert_default();
        let mut changes: HashMap<Watched, Vec<&Arc<Frame>>> = HashMap::new();
        for frame in &frames {
            for watched in changed_by(frame, known) {
                changes.entry(watched).or_default().push(frame);
            }
        }
        for (watched, frames) in &changes {
            self.tell_of(watched, |caller| {
                frames.iter().any(|frame| match watched {
                    Watched::Status(_) | Watched::Resource(Resource::Task(_) | Resource::Tasks) => {
                        caller.sees_task_of(frame)
                    }
                    _ => caller.sees(frame),
                })
            });
        }
    }

    /// Tells those who watch something that it has changed, if it has for them.
    fn tell_of(&self, watched: &Watched, has_changed: impl Fn(&Caller) -> bool) {
        let watches: Vec<(Watch, Arc<Watcher>)> = {
            let state = self.state();
            let watches = state.by_watched.get(watched).into_iter().flatten();
            let watches = watches.map(|(watch, watcher)| (watch.clone(), watcher.clone()));
            watches.collect()
        };
        for ((_, uri), watcher) in watches {
            let caller = watcher.caller().clone();
            if !has_changed(&caller) {
                continue;
            }
            match watched {
                Watched::List => watcher.listener.list_changed(),
                Watched::EventTypes => watcher.listener.event_types_changed(),
                Watched::Resource(_) => watcher.listener.resource_updated(&uri),
                Watched::Status(id) => watcher.listener.task_changed(id),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

/// What is new in the log.
struct News {
    follow: Follow,
    /// The topics of what was looked at, and for whom; none while nobody wants to
    /// know which are new.
    known: Option<HashSet<(Topic, Option<Audience>)>>,
}

impl News {
    fn skip(&mut self) {
        self.follow.skip();
        self.known = None;
    }

    /// Before something is looked at that may be new.
    fn look_up_known(&mut self) {
        let known = self.known.take().filter(|known| known.len() <= MAX_KNOWN);
        let seen = || {
            self.follow
                .seen()
                .iter()
                .map(|frame| origin(frame))
                .collect()
        };
        self.known = Some(known.unwrap_or_else(seen));
    }
}

/// What an event changes. Adds where it is from to what is known.
fn changed_by(frame: &Frame, known: &mut HashSet<(Topic, Option<Audience>)>) -> Vec<Watched> {
    let topic = &frame.head.topic;
    let mut changed = vec![
        Watched::Resource(Resource::Topic(topic.clone())),
        Watched::Resource(Resource::Event(frame.head.id.clone())),
    ];
    if let Some(Collapse::Task { task, .. }) = &frame.head.collapse {
        changed.push(Watched::Resource(Resource::Task(task.clone())));
        changed.push(Watched::Resource(Resource::Tasks));
        changed.push(Watched::Status(task.clone()));
    }
    // The server's own topics are not in the list.
    if !topic.is_reserved() && known.insert(origin(frame)) {
        changed.push(Watched::List);
    }
    changed
}

fn origin(frame: &Frame) -> (Topic, Option<Audience>) {
    (frame.head.topic.clone(), frame.head.audience.clone())
}

impl Watching {
    /// From now on it is told when this changes. `name` is what it calls it.
    pub(crate) fn watch(&self, watched: Watched, name: &str) -> Result<(), TooMany> {
        let name: Arc<str> = name.into();
        let number = self.watcher.number;
        let mut state = self.watches.state();
        let own = state.by_watcher.entry(number).or_default();
        let entry = (watched, name);
        if own.contains(&entry) {
            return Ok(());
        }
        let is_resource =
            |(watched, _): &&_| !matches!(watched, Watched::List | Watched::EventTypes);
        if is_resource(&&entry) && own.iter().filter(is_resource).count() >= MAX_WATCHED {
            return Err(TooMany);
        }
        own.insert(entry.clone());
        let (watched, name) = entry;
        let watches = state.by_watched.entry(watched).or_default();
        watches.insert((number, name), self.watcher.clone());
        Ok(())
    }

    /// It is not told of this any more. False if it was not.
    pub(crate) fn unwatch(&self, watched: Watched, name: &str) -> bool {
        let mut state = self.watches.state();
        let entry = (watched, name.into());
        let own = state.by_watcher.get_mut(&self.watcher.number);
        let was_watched = own.is_some_and(|own| own.remove(&entry));
        state.forget(self.watcher.number, entry);
        was_watched
    }

    /// Whoever watches has shown another credential.
    pub(crate) fn is_now(&self, caller: &Caller) {
        *self.watcher.caller() = caller.clone();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let number = self.watcher.number;
        let mut state = self.watches.state();
        let own = state.by_watcher.remove(&number);
        for entry in own.into_iter().flatten() {
            state.forget(number, entry);
        }
    }
}

impl State {
    fn forget(&mut self, watcher: u64, (watched, name): (Watched, Arc<str>)) {
        if let Some(watches) = self.by_watched.get_mut(&watched) {
            watches.remove(&(watcher, name));
            if watches.is_empty() {
                self.by_watched.remove(&watched);
            }
        }
    }
}

impl Watcher {
    fn caller(&self) -> MutexGuard<'_, Caller> {
        self.caller.lock().expect("no holder panics")
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = &self.number;
        f.debug_struct("Watcher")
            .field("number", number)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.watcher.fmt(f)
    }
}
