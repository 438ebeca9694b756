use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use notification_access::Refused;
use notification_event::{
    ClientId, Cursor, EncodedEvent, EventId, Invalid, Position, Task, TaskId, Timestamp,
};
use notification_log::{Change, Commit, Entry, EventLog, LogError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::activity::Activity;
use crate::fan_out::FanOut;
use crate::groups::Groups;
use crate::health::Health;
use crate::tasks::{TaskStatus, Tasks};
use crate::{Frame, Metrics, Published};

/// How many publishers wait in the queue before others wait for a place in it:
/// enough to fill a commit while the one before it is being synced. Nobody is
/// refused; each waits on its own connection, which bounds the memory.
const QUEUE: usize = 1_024;

/// How much goes into one commit, at most, so that the first to wait does not
/// wait for all that come after.
const MAX_COMMIT_EVENTS: usize = 4_096;
const MAX_COMMIT_BYTES: usize = 4 << 20;

/// How many receipts one request may ask for: each is a row of its own.
const MAX_RECEIPTS: usize = 10_000;

/// Why events were not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The log did not take them.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The server is stopping.
    #[error("the server is shutting down")]
    Closing,
    /// The task that appends has panicked, which is a bug.
    #[error("the publisher has failed; the server has to be restarted")]
    Failed,
    /// One may not.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// One of the events makes no sense now.
    #[error("{invalid}")]
    Invalid {
        /// Which of them, counted from 0.
        index: usize,
        /// Why.
        invalid: Invalid,
    },
    /// One of the events is against what was published before: its id is that
    /// of another event, or its task goes backwards.
    #[error("{invalid}")]
    Conflict {
        /// Which of them, counted from 0.
        index: usize,
        /// Why.
        invalid: Invalid,
    },
}

/// An event on its way to the publisher.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) event: EncodedEvent,
    /// What it reports, if it reports progress.
    pub(crate) task: Option<Task>,
}

/// One publisher's events and changes, which are committed together or not at all.
struct Request {
    events: Vec<Prepared>,
    changes: Vec<Change>,
    queued_at: Instant,
    answer: Answer,
}

type Answer = oneshot::Sender<Result<Vec<Published>, PublishError>>;

/// The handle to the one task that appends to the log.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    queue: mpsc::Sender<Request>,
    closing: CancellationToken,
}

impl Publisher {
    /// A publisher and the task that serves it until `closing`, and then until
    /// its queue is empty.
    pub(crate) fn new(
        worker: Worker,
        closing: CancellationToken,
    ) -> (Self, impl Future<Output = ()>) {
        let (queue, requests) = mpsc::channel(QUEUE);
        let publisher = Self {
            queue,
            closing: closing.clone(),
        };
        (publisher, worker.run(requests, closing))
    }

    /// Whether events are taken, or why not.
    pub(crate) fn ready(&self) -> Result<(), PublishError> {
        match (self.closing.is_cancelled(), self.queue.is_closed()) {
            (true, _) => Err(PublishError::Closing),
            (false, true) => Err(PublishError::Failed),
            (false, false) => Ok(()),
        }
    }

    pub(crate) async fn publish(
        &self,
        events: Vec<Prepared>,
        changes: Vec<Change>,
    ) -> Result<Vec<Published>, PublishError> {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            events,
            changes,
            queued_at: Instant::now(),
            answer,
        };
        let gone = || self.ready().err().unwrap_or(PublishError::Failed);
        self.queue.send(request).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// What the task that appends works with.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) fan_out: Arc<FanOut>,
    pub(crate) groups: Arc<Groups>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Metrics,
    pub(crate) activity: Arc<Activity>,
}

impl Worker {
    async fn run(self, mut requests: mpsc::Receiver<Request>, closing: CancellationToken) {
        // Came after a batch that it could not join.
        let mut held = None;
        loop {
            let first = match held.take() {
                Some(held) => Some(held),
                None => tokio::select! {
                    request = requests.recv() => request,
                    () = closing.cancelled(), if !requests.is_closed() => {
                        requests.close();
                        continue;
                    }
                },
            };
            let Some(first) = first else { return };
            // Whoever is about to publish joins this commit: one hand-out and one
            // waking of everybody for all of them. Nobody there costs a moment.
            tokio::task::yield_now().await;
            let batch = Batch::gather(first, &mut requests, &mut held);
            self.commit(batch).await;
        }
    }

    async fn commit(&self, batch: Batch) {
        let mut answers = Vec::with_capacity(batch.requests.len());
        let mut plan = match self.look_up(&batch).await {
            Ok(known) => Plan::new(known, &self.groups, &self.tasks),
            Err(error) => return batch.refuse(&error.into()),
        };
        let mut refused = Late::default();
        for request in batch.requests {
            match plan.add(request.events, request.changes) {
                Ok(outcomes) => answers.push((outcomes, request.queued_at, request.answer)),
                Err(error) => refused.0.push((request.answer, error)),
            }
        }
        let Plan {
            commit,
            reported,
            known,
            ..
        } = plan;
        if commit.events.is_empty() && commit.changes.is_empty() {
            let again = Vec::new();
            return self.answer(answers, &again, &known);
        }
        let commit = Arc::new(commit);
        let head = self.log.bounds().head;
        match self.append(commit.clone()).await {
            Ok(first) => {
                for change in &commit.changes {
                    self.groups.apply(change, head);
                }
                let published = self.hand_out(&commit.events, first);
                for (index, task) in reported {
                    let Published {
                        event_id,
                        timestamp,
                        cursor,
                        ..
                    } = published[index].clone();
                    self.tasks.reported(TaskStatus {
                        task,
                        event_id,
                        cursor,
                        updated_at: timestamp,
                    });
                }
                self.answer(answers, &published, &known);
            }
            Err(error) => {
                self.metrics
                    .publish_failures
                    .inc_by(commit.events.len() as u64);
                for (_, _, answer) in answers {
                    let _ = answer.send(Err(error.clone().into()));
                }
            }
        }
    }

    /// What the log has under the ids that publishers gave.
    async fn look_up(&self, batch: &Batch) -> Result<HashMap<EventId, Known>, LogError> {
        let events = batch.requests.iter().flat_map(|request| &request.events);
        let given = events.filter(|prepared| prepared.event.fingerprint.is_some());
        let ids: Vec<_> = given
            .map(|prepared| prepared.event.head.id.clone())
            .collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let epoch = self.log.bounds().epoch;
        let found = self.log.find(ids).await?.into_iter().flatten();
        let known = found.map(
            |Entry {
                 position, event, ..
             }| {
                let id = event.head.id;
                let published = Published {
                    event_id: id.clone(),
                    timestamp: event.head.timestamp,
                    cursor: Cursor { epoch, position },
                    subscribers: 0,
                    clients_away: 0,
                    is_duplicate: true,
                };
                (id, Known::Stored(published, event.fingerprint))
            },
        );
        Ok(known.collect())
    }

    async fn append(&self, commit: Arc<Commit>) -> Result<Position, LogError> {
        let started = Instant::now();
        let now = Timestamp::from(SystemTime::now());
        let bytes = commit.events.iter().map(EncodedEvent::size).sum();
        self.health.writing(started, bytes);
        let appended = self.log.append(commit.clone(), now).await;
        let seconds = started.elapsed().as_secs_f64();
        self.metrics.commit_seconds.observe(seconds);
        self.health.written(appended.as_ref().map(drop));
        if appended.is_ok() && !commit.events.is_empty() {
            self.metrics
                .commit_events
                .observe(commit.events.len() as f64);
        }
        appended
    }

    /// Hands out what was committed.
    fn hand_out(&self, events: &[EncodedEvent], first: Position) -> Vec<Published> {
        let epoch = self.log.bounds().epoch;
        let frames = events.iter().cloned().zip(0..).map(|(event, index)| {
            Arc::new(Frame::new(
                epoch,
                Entry {
                    position: first.plus(index),
                    event,
                    is_superseded: false,
                },
            ))
        });
        let reached = self.fan_out.hand_out(frames.collect(), &self.groups);
        let published = events.iter().zip(0..).zip(reached);
        published
            .map(|((event, index), reach)| {
                let label = event.head.event_type.into();
                self.metrics.published.get_or_create(&label).inc();
                Published {
                    event_id: event.head.id.clone(),
                    timestamp: event.head.timestamp,
                    cursor: Cursor {
                        epoch,
                        position: first.plus(index),
                    },
                    subscribers: reach.subscribers,
                    clients_away: reach.away,
                    is_duplicate: false,
                }
            })
            .collect()
    }

    fn answer(
        &self,
        answers: Vec<(Vec<Outcome>, Instant, Answer)>,
        published: &[Published],
        known: &HashMap<EventId, Known>,
    ) {
        for (outcomes, queued_at, answer) in answers {
            let took = queued_at.elapsed();
            self.metrics.publish_seconds.observe(took.as_secs_f64());
            self.activity.published(took);
            let outcomes = outcomes.into_iter().map(|outcome| match outcome {
                Outcome::New(index) => published[index].clone(),
                Outcome::Again(id) => known[&id].again(published),
            });
            // A publisher that has gone away does not undo what it published.
            let _ = answer.send(Ok(outcomes.collect()));
        }
    }
}

/// Requests that are against what is in the same commit, perhaps. They are
/// answered when this is dropped, after the commit, so that whoever looks then
/// sees what they are against.
#[derive(Default)]
struct Late(Vec<(Answer, PublishError)>);

impl Drop for Late {
    fn drop(&mut self) {
        for (answer, error) in self.0.drain(..) {
            let _ = answer.send(Err(error));
        }
    }
}

/// What goes into one commit.
struct Batch {
    requests: Vec<Request>,
}

impl Batch {
    /// All that wait, as far as they fit. Who is in which group decides who an
    /// event is for, so events and changes of groups never share a commit:
    /// `held` is the first request that has to wait for the next.
    fn gather(
        first: Request,
        waiting: &mut mpsc::Receiver<Request>,
        held: &mut Option<Request>,
    ) -> Self {
        let changes_groups = first.changes_groups();
        let (mut events, mut bytes) = (first.events.len(), first.size());
        let mut requests = vec![first];
        while events < MAX_COMMIT_EVENTS && bytes < MAX_COMMIT_BYTES {
            let Ok(request) = waiting.try_recv() else {
                break;
            };
            if request.changes_groups() != changes_groups {
                *held = Some(request);
                break;
            }
            events += request.events.len().max(1);
            bytes += request.size();
            requests.push(request);
        }
        Self { requests }
    }

    fn refuse(self, error: &PublishError) {
        for request in self.requests {
            let _ = request.answer.send(Err(error.clone()));
        }
    }
}

impl Request {
    fn size(&self) -> usize {
        self.events
            .iter()
            .map(|prepared| prepared.event.size())
            .sum()
    }

    fn changes_groups(&self) -> bool {
        let mut changes = self.changes.iter();
        changes.any(|c| matches!(c, Change::JoinGroup { .. } | Change::LeaveGroup { .. }))
    }
}

/// A commit that is being put together.
struct Plan<'a> {
    groups: &'a Groups,
    tasks: &'a Tasks,
    commit: Commit,
    /// What is under the ids that were given: in the log, or in this commit.
    known: HashMap<EventId, Known>,
    /// The newest report of each task in this commit.
    pending: HashMap<TaskId, Task>,
    /// The reports in this commit, by the place of their events.
    reported: Vec<(usize, Task)>,
}

/// An event whose publisher gave its id.
enum Known {
    Stored(Published, Option<u64>),
    InThisCommit(usize, Option<u64>),
}

impl Known {
    fn fingerprint(&self) -> Option<u64> {
        match self {
            Self::Stored(_, fingerprint) | Self::InThisCommit(_, fingerprint) => *fingerprint,
        }
    }

    /// The answer to publishing it again.
    fn again(&self, published: &[Published]) -> Published {
        match self {
            Self::Stored(published, _) => published.clone(),
            Self::InThisCommit(index, _) => Published {
                subscribers: 0,
                clients_away: 0,
                is_duplicate: true,
                ..published[*index].clone()
            },
        }
    }
}

/// What becomes of one event.
enum Outcome {
    /// It is at this place of the commit.
    New(usize),
    /// It was published before.
    Again(EventId),
}

impl<'a> Plan<'a> {
    fn new(known: HashMap<EventId, Known>, groups: &'a Groups, tasks: &'a Tasks) -> Self {
        Self {
            groups,
            tasks,
            commit: Commit::default(),
            known,
            pending: HashMap::new(),
            reported: Vec::new(),
        }
    }

    /// Adds the events and changes of one request, or nothing of it.
    fn add(
        &mut self,
        events: Vec<Prepared>,
        changes: Vec<Change>,
    ) -> Result<Vec<Outcome>, PublishError> {
        let added = self.commit.events.len();
        let before = self.pending_of(&events);
        let mut outcomes = Vec::with_capacity(events.len());
        for (index, Prepared { event, task }) in events.into_iter().enumerate() {
            match self.add_event(event, task) {
                Ok(outcome) => outcomes.push(outcome),
                Err(invalid) => {
                    self.take_back(added, before);
                    return Err(PublishError::Conflict { index, invalid });
                }
            }
        }
        let expected = self.expected_since(added);
        let receipts: usize = expected.iter().map(|(_, clients)| clients.len()).sum();
        if receipts > MAX_RECEIPTS {
            self.take_back(added, before);
            let expected = format!("at most {MAX_RECEIPTS} clients in all that are to acknowledge");
            return Err(PublishError::Invalid {
                index: 0,
                invalid: Invalid::field("require_ack", expected),
            });
        }
        self.commit.changes.extend(changes);
        let expect = |(event, clients)| Change::Expect { event, clients };
        self.commit.changes.extend(expected.into_iter().map(expect));
        Ok(outcomes)
    }

    /// Who is to acknowledge the events from `added` on.
    fn expected_since(&self, added: usize) -> Vec<(EventId, Vec<ClientId>)> {
        let events = self.commit.events[added..].iter();
        let asking = events.filter(|event| event.head.require_ack);
        let expected = asking.filter_map(|event| {
            let recipients = self.groups.recipients(event.head.audience.as_ref()?);
            Some((event.head.id.clone(), recipients.into_iter().collect()))
        });
        expected.collect()
    }

    fn add_event(&mut self, event: EncodedEvent, task: Option<Task>) -> Result<Outcome, Invalid> {
        let place = self.commit.events.len();
        if event.fingerprint.is_some() {
            let id = event.head.id.clone();
            if let Some(known) = self.known.get(&id) {
                return match known.fingerprint() == event.fingerprint {
                    true => Ok(Outcome::Again(id)),
                    false => Err(Invalid::field(
                        "event_id",
                        "an id that no other event has; there is one with this id and another content",
                    )),
                };
            }
            self.known
                .insert(id, Known::InThisCommit(place, event.fingerprint));
        }
        if let Some(task) = task {
            let task = self.tasks.check(task, &self.pending)?;
            self.pending
                .insert(task.progress.task_id.clone(), task.clone());
            self.reported.push((place, task));
        }
        self.commit.events.push(event);
        Ok(Outcome::New(place))
    }

    /// What was pending for the tasks of these events.
    fn pending_of(&self, events: &[Prepared]) -> Vec<(TaskId, Option<Task>)> {
        let tasks = events.iter().filter_map(|prepared| prepared.task.as_ref());
        let ids = tasks.map(|task| task.progress.task_id.clone());
        ids.map(|id| (id.clone(), self.pending.get(&id).cloned()))
            .collect()
    }

    /// Takes the events from `added` on out again.
    fn take_back(&mut self, added: usize, pending: Vec<(TaskId, Option<Task>)>) {
        self.commit.events.truncate(added);
        self.reported.retain(|(place, _)| *place < added);
        self.known
            .retain(|_, known| !matches!(known, Known::InThisCommit(place, _) if *place >= added));
        for (id, before) in pending {
            match before {
                Some(task) => drop(self.pending.insert(id, task)),
                None => drop(self.pending.remove(&id)),
            }
        }
    }
}
