use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use notification_access::{Access, ApiKey, LimitsConfig, Principal, Refused, ServerSecret};
use notification_event::{
    ClientId, Cursor, Draft, EventId, Filter, GroupName, Position, Report, TaskId, TaskState,
    Timestamp, Topic,
};
use notification_log::{AckMode, Bounds, Change, Commit, EventLog, LogError, Record, Retention};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::activity::{Activity, Sample};
use crate::audit::{Audit, By};
use crate::caller::{KEY_RECORD, key_record};
use crate::clients::{Attach, Attached, Clients};
use crate::connections::{Admission, Belonging, Connections, End};
use crate::declarations::{Declarations, EventTypesConfig};
use crate::fan_out::FanOut;
use crate::groups::Groups;
use crate::health::Health;
use crate::own_tasks::{self, OwnTasks};
use crate::presence::Presence;
use crate::publisher::{Publisher, Worker};
use crate::receipts::{self, Receipts};
use crate::shared::Shared;
use crate::subscription::Opening;
use crate::tasks::Tasks;
use crate::{
    Acknowledge, AcknowledgeError, Acknowledged, Beginning, Caller, ClientStatus, ClientsConfig,
    ConnectionStatus, DurableError, EventPage, EventReceipts, Follow, Frame, Metrics, NewestEvents,
    PageRequest, PublishError, Rate, RefusalReason, Start, StreamControl, Subscription, TaskStatus,
    Transport, keeper, page,
};

/// The most memberships that are known, current and former.
const MAX_MEMBERSHIPS: usize = 1_000_000;

/// How a hub works.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// The most events of the log's newest part that are kept in memory.
    pub tail_events: usize,
    /// The most bytes of them.
    pub tail_bytes: usize,
    /// What the log keeps.
    pub retention: Retention,
    /// What no stream gets more of than this in a second.
    pub max_rate: Option<Rate>,
    /// How long durable clients are remembered, and how much they may owe.
    pub clients: ClientsConfig,
    /// After how long without a connection a client is said to have left.
    pub leave_after: Duration,
    /// After how long without a report a task is said to be stalled.
    pub task_stalled_after: Duration,
    /// After how long without a report a task that does not go on is forgotten.
    pub task_forget_after: Duration,
    /// What is declared from the start on.
    pub event_types: EventTypesConfig,
    /// Who may do what through a [`Caller`].
    pub access: Arc<Access>,
}

impl Default for HubConfig {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            tail_events: 8_192,
            tail_bytes: 8 << 20,
            retention: Retention::default(),
            max_rate: None,
            clients: ClientsConfig {
                forget_after: 30 * DAY,
                max_unacknowledged: 1_000,
            },
            leave_after: Duration::from_secs(10),
            task_stalled_after: Duration::from_secs(300),
            task_forget_after: DAY,
            event_types: EventTypesConfig::default(),
            access: Arc::new(Access::new(
                ServerSecret::new(&ServerSecret::generate()),
                LimitsConfig::default(),
            )),
        }
    }
}

/// The handle to the heart of the server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hub {
    shared: Arc<Shared>,
}

/// The answer to publishing one event: it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// What it is called from now on.
    pub event_id: EventId,
    /// When it was published.
    pub timestamp: Timestamp,
    /// Where it stands in the log.
    pub cursor: Cursor,
    /// How many open streams it was for.
    pub subscribers: usize,
    /// How many durable clients are not connected and will get it.
    pub clients_away: usize,
    /// Whether it had been published before, and nothing was done now.
    pub is_duplicate: bool,
}

/// Which stream is wanted.
#[derive(Clone, Debug, Default)]
pub struct Subscribe {
    /// Which events.
    pub filter: Filter,
    /// Who asks: events for an audience reach only the clients in it.
    pub client: Option<ClientId>,
    /// From where on, unless the server has kept the client's place.
    pub start: Start,
    /// Whether the client's place is kept, and what moves it.
    pub durable: Option<AckMode>,
    /// What it does not want more of than this in a second.
    pub max_rate: Option<Rate>,
    /// Whether the newest state of everything comes first. Only for a stream
    /// that begins [now](Start::Now): one that resumes has had it.
    pub snapshot: bool,
    /// How it reaches its reader.
    pub transport: Transport,
    /// Who else has a say in it.
    pub control: Option<Arc<StreamControl>>,
    /// Whether the server itself reads it, for somebody who need not be here: it is
    /// no connection, and nobody is present because of it.
    pub is_unattended: bool,
}

/// Why a stream was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// A place in the log is kept for named clients only.
    #[error("a durable stream needs a client_id")]
    Nameless,
    /// The client's place cannot be kept.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The client's place cannot be stored.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// One may not.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// There is no room for another membership.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// There are too many.
    #[error("there are {MAX_MEMBERSHIPS} memberships of groups, which is the most")]
    TooMany,
    /// It was not stored.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Which tasks are wanted.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    /// On topics of these patterns; none is all.
    pub topics: Vec<notification_event::Pattern>,
    /// In these states; none is all.
    pub states: Vec<TaskState>,
    /// Who asks: tasks for an audience are shown only to the clients in it.
    pub client: Option<ClientId>,
}

impl Hub {
    /// Begins to serve what `log` holds. Needs a tokio runtime.
    pub async fn open(log: Arc<dyn EventLog>, config: HubConfig) -> Result<Self, LogError> {
        let bounds = log.bounds();
        let records = log.records().await?;
        let groups = Arc::new(Groups::load(records.memberships));
        let now = now();
        let tasks = Arc::new(Tasks::load(&*log, now, config.task_forget_after).await?);
        let fan_out = Arc::new(FanOut::new(bounds.head, &config));
        for record in &records.clients {
            fan_out.went_away(record.filter.clone(), record.client.clone());
        }
        for record in records.others.iter().filter(|r| r.kind == KEY_RECORD) {
            let key = ApiKey::from_record(&record.json);
            let damaged = |e| LogError::Damaged(format!("the key {}: {e}", record.id));
            config.access.put_key(key.map_err(damaged)?);
        }
        let own_tasks = OwnTasks::of(&records.others);
        let declarations = Declarations::load(&config.event_types, &records.others)?;
        let window = config.clients.max_unacknowledged;
        let clients = Clients::load(records.clients, bounds.epoch, window);
        let metrics = Metrics::default();
        let activity = Arc::<Activity>::default();
        let health = Arc::<Health>::default();
        let closing = CancellationToken::new();
        let worker = Worker {
            log: log.clone(),
            fan_out: fan_out.clone(),
            groups: groups.clone(),
            tasks: tasks.clone(),
            health: health.clone(),
            metrics: metrics.clone(),
            activity: activity.clone(),
        };
        let (publisher, publishing) = Publisher::new(worker, closing.clone());
        let (announcements, announced) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            epoch: bounds.epoch,
            connections: Connections::new(metrics.clone()),
            presence: Presence::new(config.leave_after, announcements.clone()),
            audit: Audit::new(announcements, metrics.clone()),
            storing_keys: Mutex::default(),
            receipts: Receipts::default(),
            log,
            fan_out,
            groups,
            clients,
            tasks,
            own_tasks,
            declarations,
            config,
            metrics,
            activity,
            publisher,
            health,
            closing: closing.clone(),
            workers: TaskTracker::new(),
            started: Instant::now(),
            explains: std::sync::Mutex::default(),
        });
        let workers = &shared.workers;
        workers.spawn(publishing);
        if let Err(error) = own_tasks::tidy(&shared).await {
            tracing::warn!(%error, "tasks that were cut off are not reported as failed yet");
        }
        workers.spawn(keeper::keep(shared.clone(), closing.clone()));
        workers.spawn(keeper::watch(shared.clone(), closing.clone()));
        let announcing = announce(shared.clone(), announced);
        workers.spawn(closing.clone().run_until_cancelled_owned(announcing));
        let storing = receipts::store_deliveries(shared.clone());
        workers.spawn(closing.run_until_cancelled_owned(storing));
        Ok(Self { shared })
    }

    /// Publishes events, all or none of them. When this returns they are
    /// committed, and on their way to every open stream that wants them.
    pub async fn publish(&self, drafts: Vec<Draft>) -> Result<Vec<Published>, PublishError> {
        self.shared.publish(drafts, Vec::new()).await
    }

    /// Publishes one event.
    pub async fn publish_one(&self, draft: Draft) -> Result<Published, PublishError> {
        let mut published = self.publish(vec![draft]).await?;
        Ok(published.pop().expect("one answer for one event"))
    }

    /// Whether an event is for this client, or nobody in particular.
    pub fn is_for(&self, event: &Frame, client: Option<&ClientId>) -> bool {
        self.shared.is_for(event, client)
    }

    /// What is stored beside the events of a kind that means nothing to the hub.
    pub async fn records(&self, kind: &str) -> Result<Vec<Record>, LogError> {
        let mut records = self.shared.log.records().await?.others;
        records.retain(|record| record.kind == kind);
        Ok(records)
    }

    /// Has something be published that the server says itself, soon, and in order.
    pub fn announce(&self, draft: Draft) {
        self.shared.audit.say_also(draft);
    }

    /// Stores records and removes others, by kind and id: all of it or nothing.
    pub async fn store(
        &self,
        save: Vec<Record>,
        remove: Vec<(String, String)>,
    ) -> Result<(), PublishError> {
        let remove = remove.into_iter();
        let remove = remove.map(|(kind, id)| Change::RemoveRecord { kind, id });
        let save = save.into_iter().map(Change::SaveRecord);
        let changes = save.chain(remove).collect();
        self.shared.publish(Vec::new(), changes).await.map(drop)
    }

    /// The hub, as far as `principal`, who asks from `address`, may use it.
    pub fn caller(&self, principal: Arc<Principal>, address: Option<IpAddr>) -> Caller {
        Caller::new(self.clone(), principal, address)
    }

    /// Who may do what.
    pub fn access(&self) -> &Access {
        &self.shared.config.access
    }

    /// Says that a request was refused before it was known, or because it was
    /// not, who asked.
    pub fn refused(&self, reason: RefusalReason, address: Option<IpAddr>, detail: &str) {
        let by = By {
            principal: None,
            address,
        };
        self.shared.audit.refused(reason, by, detail);
    }

    /// Ends the streams whose credential is no longer good, at once rather than
    /// within a second.
    pub fn end_lapsed(&self, now: Timestamp) {
        self.shared.look_for_lapsed(now);
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn audit(&self) -> &Audit {
        &self.shared.audit
    }

    /// Opens a stream.
    pub async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription, SubscribeError> {
        self.subscribe_as(subscribe, Admission::default()).await
    }

    pub(crate) async fn subscribe_as(
        &self,
        subscribe: Subscribe,
        admission: Admission,
    ) -> Result<Subscription, SubscribeError> {
        let Subscribe {
            filter,
            client,
            start,
            durable,
            max_rate,
            snapshot,
            transport,
            control,
            is_unattended,
        } = subscribe;
        let filter = filter.normalized();
        let shared = &self.shared;
        let of = Belonging {
            client,
            durable,
            // That of streams is for who reads them.
            max_rate: match is_unattended {
                true => max_rate,
                false => Rate::lower(max_rate, shared.config.max_rate),
            },
            since: now(),
            transport,
            admission,
            control,
            is_unattended,
        };
        if durable.is_some() && of.client.is_none() {
            return Err(SubscribeError::Nameless);
        }
        loop {
            if let Some(open) = self.open_stream(&filter, start, snapshot, &of).await? {
                return Ok(open);
            }
        }
    }

    /// Opens a stream; none if a durable client has changed meanwhile, and it
    /// has to be tried again.
    async fn open_stream(
        &self,
        filter: &Filter,
        start: Start,
        snapshot: bool,
        of: &Belonging,
    ) -> Result<Option<Subscription>, SubscribeError> {
        let shared = self.shared.clone();
        let durable = of.client.as_ref().zip(of.durable);
        let kept = durable.and_then(|(client, _)| shared.clients.cursor(client));
        let start = match (kept, of.durable, start) {
            // It says itself what it has got last.
            (Some(_), Some(AckMode::Auto), Start::After(cursor)) => Start::After(cursor),
            (Some(kept), ..) => Start::After(kept),
            (None, _, start) => start,
        };
        let place = start.find(&*shared.log).await?;
        let membership = shared.fan_out.join(filter.clone(), of.client.as_ref());
        let position = place.position.unwrap_or(membership.joined_at);
        let id = Uuid::new_v4();
        let cohort = membership.cohort.clone();
        let connection = shared.connections.add(id, of.clone(), cohort, position);
        if let Some(control) = &of.control {
            control.attach(&connection);
        }
        if let Some(client) = &of.client
            && !of.is_unattended
        {
            shared.presence.connected(client);
        }
        let attached = durable.map(|(client, ack)| {
            shared.clients.attach(Attach {
                client,
                filter,
                ack,
                connection: id,
                position,
                kept,
                now: of.since,
            })
        });
        let opening = Opening {
            position,
            gap: place.gap,
            snapshot: snapshot && place.position.is_none(),
            acknowledged: match durable {
                Some((client, AckMode::Manual)) => shared.clients.acknowledged(client),
                _ => Default::default(),
            },
        };
        // From here on dropping it takes everything back.
        let subscription = Subscription::new(shared.clone(), connection, membership, opening);
        match attached.transpose()? {
            None => {}
            Some(Attached::Changed) => return Ok(None),
            Some(Attached::Back { former, was_away }) => {
                if was_away && let Some(client) = &of.client {
                    shared.fan_out.came_back(&former, client);
                }
            }
            Some(Attached::New(record)) => {
                let save = vec![Change::SaveClient(record.clone())];
                if let Err(error) = shared.publish(Vec::new(), save).await {
                    drop(subscription);
                    // Nothing of it was stored, so nothing is left to be.
                    if let Some(status) = shared.clients.forget(&record.client, true) {
                        shared
                            .fan_out
                            .came_back(&status.record.filter, &record.client);
                    }
                    return Err(error.into());
                }
            }
        }
        Ok(Some(subscription))
    }

    /// Reads a part of the log. Looks at a bounded number of events, so with a
    /// filter that little matches a page may have few events, or none, and
    /// still have more after it.
    pub async fn page(&self, request: PageRequest) -> Result<EventPage, LogError> {
        page::read(&self.shared, request).await
    }

    /// Where a reader begins that wants nothing older than `not_before`.
    pub async fn find(
        &self,
        start: Start,
        not_before: Option<Timestamp>,
    ) -> Result<Beginning, LogError> {
        page::find(&self.shared, start, not_before).await
    }

    /// Reads the newest events of a part of the log, up to and including `through`
    /// if that is given. Looks at a bounded number of events, so there may be older
    /// ones that it has not come to.
    pub async fn newest(
        &self,
        request: PageRequest,
        through: Option<Position>,
    ) -> Result<NewestEvents, LogError> {
        page::read_newest(&self.shared, request, through).await
    }

    /// An event, if it is in the log, has been handed out, and is for this client,
    /// or nobody in particular.
    pub async fn event(
        &self,
        id: EventId,
        client: Option<&ClientId>,
    ) -> Result<Option<Arc<Frame>>, LogError> {
        let shared = &self.shared;
        let Some(entry) = shared.log.find(vec![id]).await?.pop().flatten() else {
            return Ok(None);
        };
        let frame = Frame::new(shared.epoch, entry);
        let now = Timestamp::from(SystemTime::now());
        let is_shown = frame.position <= shared.fan_out.head()
            && shared.is_for(&frame, client)
            && !frame.head.is_expired(now);
        Ok(is_shown.then(|| Arc::new(frame)))
    }

    /// The topics of what is in memory and for this client, or nobody in
    /// particular, and of the tasks; not the server's own.
    pub(crate) fn known_topics(&self, client: Option<&ClientId>) -> BTreeSet<Topic> {
        let shared = &self.shared;
        let recent = shared.fan_out.recent();
        let recent = recent
            .iter()
            .filter(|frame| !frame.head.topic.is_reserved() && shared.is_for(frame, client));
        let recent = recent.map(|frame| &frame.head.topic);
        let recent: BTreeSet<_> = recent.collect();
        let of_tasks = shared
            .tasks
            .topics(|task| task.is_for(client, &shared.groups));
        recent.into_iter().cloned().chain(of_tasks).collect()
    }

    /// Puts a client into a group, for what is published from now on. False if
    /// it was in it.
    pub async fn join_group(&self, group: GroupName, client: ClientId) -> Result<bool, GroupError> {
        if self.shared.groups.is_member(&group, &client) {
            return Ok(false);
        }
        if self.shared.groups.memberships() >= MAX_MEMBERSHIPS {
            return Err(GroupError::TooMany);
        }
        let join = vec![Change::JoinGroup { group, client }];
        self.shared.publish(Vec::new(), join).await?;
        Ok(true)
    }

    /// Takes a client out of a group, for what is published from now on. False
    /// if it was not in it.
    pub async fn leave_group(
        &self,
        group: GroupName,
        client: ClientId,
    ) -> Result<bool, PublishError> {
        if !self.shared.groups.is_member(&group, &client) {
            return Ok(false);
        }
        let leave = vec![Change::LeaveGroup { group, client }];
        self.shared.publish(Vec::new(), leave).await?;
        Ok(true)
    }

    /// The groups that have members, and how many.
    pub fn groups(&self) -> BTreeMap<GroupName, usize> {
        self.shared.groups.sizes()
    }

    /// The members of a group, in order; none if there are none.
    pub fn group(&self, group: &GroupName) -> Vec<ClientId> {
        self.shared.groups.members(group)
    }

    /// The groups that a client is in, in order.
    pub fn groups_of(&self, client: &ClientId) -> Vec<GroupName> {
        self.shared.groups.of(client)
    }

    /// The open streams, the oldest first.
    pub fn connection_list(&self) -> Vec<ConnectionStatus> {
        self.shared.connections.list(self.shared.fan_out.head())
    }

    /// Ends a stream: it is told, and cut off if it does not end by itself
    /// soon. False if there is none with this id.
    pub fn close_connection(&self, id: Uuid) -> bool {
        let Some(connection) = self.shared.connections.get(id) else {
            return false;
        };
        self.shared.end(&connection, End::Administrator);
        true
    }

    /// The durable clients, in order of their names.
    pub fn clients(&self) -> Vec<ClientStatus> {
        self.shared.clients.list()
    }

    /// What is known of a durable client.
    pub fn client(&self, client: &ClientId) -> Option<ClientStatus> {
        self.shared.clients.get(client)
    }

    /// How many events a durable client has yet to acknowledge, or to get:
    /// those after its cursor that are for it. Looks at a bounded number of
    /// events; true if there may be more.
    pub async fn outstanding(&self, status: &ClientStatus) -> Result<(usize, bool), LogError> {
        let request = PageRequest {
            filter: status.record.filter.clone(),
            client: Some(status.record.client.clone()),
            start: Start::After(status.record.cursor),
            limit: usize::MAX,
        };
        let page = self.page(request).await?;
        let acknowledged = &status.record.acknowledged;
        let is_open = |frame: &&Arc<Frame>| {
            frame.replaced_for(&status.record.filter, false).is_none()
                && acknowledged.binary_search(&frame.position).is_err()
        };
        Ok((page.frames.iter().filter(is_open).count(), page.has_more))
    }

    /// Forgets a durable client, and ends its durable streams. False if it was not known.
    pub async fn forget_client(&self, client: &ClientId) -> Result<bool, PublishError> {
        let Some(status) = self.shared.forget(client, false).await? else {
            return Ok(false);
        };
        for connection in status.connections {
            self.close_connection(connection);
        }
        Ok(true)
    }

    /// Notes what a client acknowledges; all of it, or nothing.
    pub async fn acknowledge(
        &self,
        client: &ClientId,
        what: Acknowledge,
    ) -> Result<Acknowledged, AcknowledgeError> {
        receipts::acknowledge(&self.shared, client, what, |_| true).await
    }

    /// Who has got, and who has acknowledged, an event; none if it is not in the log.
    pub async fn receipts(&self, event: EventId) -> Result<Option<EventReceipts>, LogError> {
        let log = &self.shared.log;
        let found = log.find(vec![event.clone()]).await?.pop().flatten();
        let Some(entry) = found else {
            return Ok(None);
        };
        let head = entry.event.head;
        Ok(Some(EventReceipts {
            require_ack: head.require_ack,
            topic: head.topic,
            published_by: head.published_by,
            receipts: log.receipts(event).await?,
        }))
    }

    /// Publishes what a job says of itself.
    pub async fn report(&self, task: TaskId, report: Report) -> Result<Published, PublishError> {
        self.report_as(task, report, |draft| self.publish_one(draft))
            .await
    }

    pub(crate) async fn report_as<F>(
        &self,
        task: TaskId,
        report: Report,
        publish: impl Fn(Draft) -> F,
    ) -> Result<Published, PublishError>
    where
        F: Future<Output = Result<Published, PublishError>>,
    {
        let tasks = &self.shared.tasks;
        let newest = || tasks.get(&task).map(|status| status.cursor);
        loop {
            let before = newest();
            let draft = tasks.draft(task.clone(), report.clone())?;
            match publish(draft).await {
                // What it does not say was taken from a report that is not the
                // newest any more. Each time round another was published.
                Err(PublishError::Conflict { .. }) if newest() != before => {}
                result => return result,
            }
        }
    }

    /// At most `limit` of the tasks that are wanted, the most recently updated
    /// first, and whether there are more.
    pub fn tasks(&self, wanted: &TaskFilter, limit: usize) -> (Vec<TaskStatus>, bool) {
        let TaskFilter {
            topics,
            states,
            client,
        } = wanted;
        self.shared.tasks.list(limit, |status| {
            let topic = &status.task.topic;
            (topics.is_empty() || topics.iter().any(|p| p.matches(topic)))
                && (states.is_empty() || states.contains(&status.task.progress.state))
                && status.is_for(client.as_ref(), &self.shared.groups)
        })
    }

    /// A task, if it is known and for this client, or nobody in particular.
    pub fn task(&self, id: &TaskId, client: Option<&ClientId>) -> Option<TaskStatus> {
        let status = self.shared.tasks.get(id);
        status.filter(|status| status.is_for(client, &self.shared.groups))
    }

    /// Whether a task has reported, whoever may know of it.
    pub fn knows_task(&self, id: &TaskId) -> bool {
        self.shared.tasks.get(id).is_some()
    }

    /// How many streams are open.
    pub fn connections(&self) -> usize {
        self.shared.connections.count()
    }

    /// What went on in the last hour, the oldest first.
    pub(crate) fn activity(&self) -> Vec<Sample> {
        self.shared.activity.samples()
    }

    /// How many events were published since the server started.
    pub fn events_published(&self) -> u64 {
        self.shared.metrics.published_in_all()
    }

    /// How long the server has been running.
    pub fn uptime(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// What the log holds.
    pub fn log_bounds(&self) -> Bounds {
        self.shared.log.bounds()
    }

    /// Looks on from now on while the log is written.
    pub fn follow(&self) -> Follow {
        Follow::new(self.shared.fan_out.clone())
    }

    /// How long a task is known after its end.
    pub fn task_forget_after(&self) -> Duration {
        self.shared.config.task_forget_after
    }

    /// Tells when a stream has been opened or has ended.
    pub fn connections_changed(&self) -> watch::Receiver<()> {
        self.shared.connections.changes()
    }

    /// What the hub counts, up to date.
    pub fn metrics(&self) -> &Metrics {
        let metrics = &self.shared.metrics;
        let bounds = self.shared.log.bounds();
        metrics.log_events.set(bounds.events().cast_signed());
        metrics.log_bytes.set(bounds.bytes.cast_signed());
        let durable = self.shared.clients.count() as i64;
        metrics.durable_clients.set(durable);
        metrics
    }

    /// Whether events can be published right now, or why not.
    pub fn ready(&self) -> Result<(), PublishError> {
        self.shared.publisher.ready()?;
        match self.shared.health.failure(Instant::now()) {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }

    /// Stops: takes no more events, hands out those it has taken, and then
    /// tells every stream that there will be nothing more. Returns when that
    /// is done; the streams may still be writing. The log stays open.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.workers.close();
        self.shared.workers.wait().await;
        self.shared.fan_out.close();
    }

    /// Stores where durable clients are, and lets go of the log. Streams that
    /// still read end. Only after [`close`](Self::close).
    pub async fn close_log(&self) -> Result<(), LogError> {
        let log = &self.shared.log;
        let mut changes = self.shared.clients.take_changes();
        let keys = self.access().take_unsaved_keys();
        changes.extend(keys.iter().map(key_record).map(Change::SaveRecord));
        let mut stored = Ok(());
        if !changes.is_empty() {
            let events = Vec::new();
            let commit = Arc::new(Commit { changes, events });
            // The publisher has ended, so there is no other writer.
            stored = log.append(commit, now()).await.map(drop);
        }
        if let Err(error) = &stored {
            for key in keys.iter().filter(|key| key.revoked_at.is_some()) {
                tracing::error!(id = %key.id, %error, "a key may be good again when the server starts: that it is revoked could not be stored");
            }
        }
        log.close().await.and(stored)
    }
}

/// Publishes what is announced, in order.
async fn announce(hub: Arc<Shared>, mut announced: mpsc::UnboundedReceiver<Draft>) {
    /// How many announcements share one commit, at most.
    const BATCH: usize = 1_000;
    let mut batch = Vec::new();
    while announced.recv_many(&mut batch, BATCH).await > 0 {
        let drafts = std::mem::take(&mut batch);
        if let Err(error) = hub.publish(drafts, Vec::new()).await {
            tracing::warn!(%error, "what the server says itself was not published");
        }
    }
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
