use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use notification_access::{
    Access, ApiKey, Asker, Denied, Grant, IssueError, Limited, NewKey, NewKeyError, Principal,
    Refused, Slot, Ticket,
};
use notification_event::{
    ClientId, Draft, EventId, Filter, GroupName, Pattern, Position, Report, TaskId, Timestamp,
    Topic,
};
use notification_log::{Change, LogError, Record, Retention};
use uuid::Uuid;

use crate::audit::By;
use crate::own_tasks::{self, OwnTask};
use crate::receipts;
use crate::{
    Acknowledge, AcknowledgeError, Acknowledged, ClientStatus, ConnectionStatus, EventPage,
    EventReceipts, Frame, GroupError, Hub, Metrics, NewestEvents, PageRequest, PublishError,
    Published, RefusalReason, Sample, Subscribe, SubscribeError, Subscription, TaskFilter,
    TaskStatus,
};

/// What keys are called among the records.
pub(crate) const KEY_RECORD: &str = "key";

/// The hub, as far as somebody may use it: each method asks whether its
/// principal may, and within what limits. Doors hold this and not the
/// [`Hub`], so that none of them can forget to ask. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Caller {
    hub: Hub,
    principal: Arc<Principal>,
    address: Option<IpAddr>,
}

/// Why something cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// One may not.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It cannot be read by anyone.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What its credential says of its client cannot be stored.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Why a key is not created or revoked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// One may not.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It cannot be, beside those that there are.
    #[error(transparent)]
    New(#[from] NewKeyError),
    /// It cannot be stored.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// What became of the wish that a task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelTask {
    /// It was told to, and will say so.
    Told,
    /// It had ended.
    Ended,
    /// Some other program reports it, which the server cannot tell anything.
    NotOurs,
    /// There is none, as far as whoever asks may know.
    Unknown,
}

/// Tasks, as far as they may be seen.
#[derive(Clone, Debug)]
pub struct TaskPage {
    /// The most recently updated first.
    pub tasks: Vec<TaskStatus>,
    /// Whether there are more.
    pub has_more: bool,
    /// The patterns that are left of those that were asked for, if that is less.
    pub narrowed: Option<Vec<Pattern>>,
}

impl Caller {
    pub(crate) fn new(hub: Hub, principal: Arc<Principal>, address: Option<IpAddr>) -> Self {
        Self {
            hub,
            principal,
            address,
        }
    }

    /// Who it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What is free for all to use.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    fn access(&self) -> &Access {
        self.hub.access()
    }

    fn asker(&self) -> Asker<'_> {
        Asker {
            principal: Some(&self.principal),
            address: self.address,
        }
    }

    fn by(&self) -> By<'_> {
        By {
            principal: Some(&self.principal.name),
            address: self.address,
        }
    }

    /// Takes note of what was done in its name, which may be done often.
    pub fn note_often(&self, deed: &'static str, what: &[(&'static str, &str)]) {
        self.hub.audit().noted(deed, self.by(), what);
    }

    /// Passes on what was asked of the grants, if whoever asks is still vouched
    /// for: between the head of a request and the end of its body a key may have
    /// been revoked. Says so if it was denied.
    fn ask<T>(&self, asked: Result<T, Denied>) -> Result<T, Refused> {
        self.vouch()?;
        Ok(asked.inspect_err(|denied| {
            let reason = RefusalReason::Denied;
            let audit = self.hub.audit();
            audit.refused(reason, self.by(), &denied.to_string());
        })?)
    }

    /// That its credential is still good. Says so in the audit if it is not.
    pub fn vouch(&self) -> Result<(), Refused> {
        let vouched = self.access().vouch(&self.principal, now());
        Ok(vouched.inspect_err(|lapsed| {
            let reason = RefusalReason::Unauthenticated;
            let audit = self.hub.audit();
            audit.refused(reason, self.by(), &lapsed.to_string());
        })?)
    }

    /// That it has this grant. Says so in the audit if it has not.
    pub fn need(&self, grant: Grant) -> Result<(), Refused> {
        self.ask(self.principal.grants.need(grant))
    }

    /// Takes note of what was done in its name.
    pub fn note_deed(&self, deed: &'static str, what: &[(&'static str, &str)]) {
        self.hub.audit().done(deed, self.by(), what);
    }

    /// Says so if it was too much.
    fn within<T>(&self, limited: Result<T, Limited>) -> Result<T, Refused> {
        Ok(limited.inspect_err(|limited| {
            let reason = RefusalReason::Limited;
            self.hub.audit().refused(reason, self.by(), &limited.limit);
        })?)
    }

    /// Publishes events, all or none of them, as [`Hub::publish`].
    pub async fn publish(&self, mut drafts: Vec<Draft>) -> Result<Vec<Published>, PublishError> {
        self.vouch()?;
        for draft in &mut drafts {
            // Before it is asked whether one may publish there.
            self.hub.shared().declarations.place(draft);
            self.ask(self.may_publish(draft))?;
        }
        let publisher = (!self.principal.is_local()).then(|| self.principal.name.clone());
        let admit = |events, bytes| {
            let admitted = self.access().admit_events(self.asker(), events, bytes);
            self.within(admitted).map_err(PublishError::from)
        };
        let shared = self.hub.shared();
        shared
            .publish_as(drafts, Vec::new(), publisher, admit)
            .await
    }

    fn may_publish(&self, draft: &Draft) -> Result<(), Denied> {
        let grants = &self.principal.grants;
        let Some(task) = draft.task_id() else {
            return grants.publish(&draft.topic);
        };
        grants.report(&draft.topic)?;
        self.may_report(task)
    }

    /// Whether the task, if it is known, is one that may be reported: nobody takes
    /// one over by reporting it elsewhere. Does not say where it is.
    fn may_report(&self, task: &TaskId) -> Result<(), Denied> {
        let grants = &self.principal.grants;
        match self.hub.shared().tasks.get(task) {
            Some(known) => grants.report(&known.task.topic).map_err(|_| hidden()),
            None => Ok(()),
        }
    }

    /// Publishes one event.
    pub async fn publish_one(&self, draft: Draft) -> Result<Published, PublishError> {
        let mut published = self.publish(vec![draft]).await?;
        Ok(published.pop().expect("one answer for one event"))
    }

    /// Publishes what a job says of itself, as [`Hub::report`].
    pub async fn report(&self, task: TaskId, report: Report) -> Result<Published, PublishError> {
        // Before what it says is held against how the task is.
        self.ask(self.may_report(&task))?;
        self.hub
            .report_as(task, report, |draft| self.publish_one(draft))
            .await
    }

    /// Opens a stream of what it may see of what is wanted.
    pub async fn subscribe(&self, wanted: Subscribe) -> Result<Subscription, SubscribeError> {
        let client = self.ask(self.principal.as_client(wanted.client))?;
        let narrowed = self.ask(self.principal.grants.narrow(wanted.filter))?;
        let slot = match wanted.is_unattended {
            true => None,
            false => Some(Arc::new(self.admit_stream()?)),
        };
        self.sync_groups(client.as_ref()).await?;
        let wanted = Subscribe {
            filter: narrowed.filter,
            client,
            ..wanted
        };
        let of = crate::connections::Admission {
            principal: self.principal.clone(),
            is_narrowed: narrowed.is_less,
            slot,
        };
        self.hub.subscribe_as(wanted, of).await
    }

    /// Where the credential says which groups its client is in, that is so from
    /// now on: it joins those, and leaves all others.
    async fn sync_groups(&self, client: Option<&ClientId>) -> Result<(), PublishError> {
        let (Some(groups), Some(client)) = (&self.principal.groups, client) else {
            return Ok(());
        };
        if self.principal.client.as_ref() != Some(client) {
            return Ok(());
        }
        let current: BTreeSet<_> = self.hub.groups_of(client).into_iter().collect();
        let wanted: BTreeSet<_> = groups.iter().cloned().collect();
        for group in current.difference(&wanted) {
            self.hub.leave_group(group.clone(), client.clone()).await?;
            self.note_membership("group.left", group, client);
        }
        for group in wanted.difference(&current) {
            match self.hub.join_group(group.clone(), client.clone()).await {
                Ok(_) => self.note_membership("group.joined", group, client),
                Err(GroupError::Publish(error)) => return Err(error),
                Err(error @ GroupError::TooMany) => {
                    tracing::warn!(%client, %group, %error, "client not put into its group");
                }
            }
        }
        Ok(())
    }

    /// As often as a client comes with other credentials.
    fn note_membership(&self, deed: &'static str, group: &GroupName, client: &ClientId) {
        let what = [("group", group.as_str()), ("client_id", client.as_str())];
        self.hub.audit().noted(deed, self.by(), &what);
    }

    /// What may be read of what is wanted, if there is anything.
    pub fn readable(&self, filter: Filter) -> Result<Filter, Refused> {
        Ok(self.ask(self.principal.grants.narrow(filter))?.filter)
    }

    /// Reads a part of the log, as far as it may be seen.
    pub async fn page(&self, request: PageRequest) -> Result<EventPage, ReadError> {
        let (request, narrowed) = self.narrow(request).await?;
        let page = self.hub.page(request).await?;
        Ok(EventPage { narrowed, ..page })
    }

    /// Reads the newest events of a part of the log, up to and including `through`
    /// if that is given, as far as it may be seen.
    pub async fn newest(
        &self,
        request: PageRequest,
        through: Option<Position>,
    ) -> Result<NewestEvents, ReadError> {
        let (request, narrowed) = self.narrow(request).await?;
        let newest = self.hub.newest(request, through).await?;
        Ok(NewestEvents { narrowed, ..newest })
    }

    /// Cuts what is asked for down to what may be seen: that, and the patterns
    /// that are left, if it is less.
    async fn narrow(
        &self,
        request: PageRequest,
    ) -> Result<(PageRequest, Option<Vec<Pattern>>), ReadError> {
        let client = self.ask(self.principal.as_client(request.client))?;
        let narrowed = self.ask(self.principal.grants.narrow(request.filter))?;
        self.sync_groups(client.as_ref()).await?;
        let filter = narrowed.filter;
        let left = narrowed.is_less.then(|| filter.topics.clone());
        let request = PageRequest {
            client,
            filter,
            ..request
        };
        Ok((request, left))
    }

    /// An event, if it is in the log, and for whoever asks.
    pub async fn event(&self, id: EventId) -> Result<Option<Arc<Frame>>, ReadError> {
        let client = self.ask(self.principal.as_client(None))?;
        self.sync_groups(client.as_ref()).await?;
        let Some(frame) = self.hub.event(id, client.as_ref()).await? else {
            return Ok(None);
        };
        let seen = self.principal.grants.read(&frame.head.topic);
        // What would be enough for any event: it does not say where this one is.
        let everything = "**".parse().expect("a pattern");
        let needed = Grant::Subscribe(everything);
        self.ask(seen.map_err(|_| Denied { needed }))?;
        Ok(Some(frame))
    }

    /// Whether an event may be read. Who may not is not refused: it is asked of
    /// what they have not asked for.
    pub fn sees(&self, frame: &Frame) -> bool {
        self.is_shown(frame, self.principal.grants.read(&frame.head.topic))
    }

    /// Whether the task that an event reports may be seen, likewise.
    pub fn sees_task_of(&self, frame: &Frame) -> bool {
        self.is_shown(frame, self.principal.grants.see_task(&frame.head.topic))
    }

    fn is_shown(&self, frame: &Frame, granted: Result<(), Denied>) -> bool {
        let client = self.principal.client.as_ref();
        granted.is_ok() && self.is_vouched_for() && self.hub.shared().is_for(frame, client)
    }

    /// Whether its credential is still good.
    pub fn is_vouched_for(&self) -> bool {
        self.access().vouch(&self.principal, now()).is_ok()
    }

    /// Room among the streams that may be open, until it is dropped.
    pub fn admit_stream(&self) -> Result<Slot, Refused> {
        self.vouch()?;
        self.within(self.access().admit_stream(self.asker()))
    }

    /// Topics on which something that may be read was published lately, in
    /// order: at most `limit` of those after `after` that begin with `prefix`, and
    /// whether there are more. Known are those of what is kept in memory, and of
    /// tasks.
    pub fn topics(
        &self,
        prefix: &str,
        after: Option<&Topic>,
        limit: usize,
    ) -> Result<(Vec<Topic>, bool), Refused> {
        self.vouch()?;
        let grants = &self.principal.grants;
        let known = self.hub.known_topics(self.principal.client.as_ref());
        let known = known.into_iter();
        let mut readable = known.filter(|topic| {
            topic.as_str().starts_with(prefix)
                && after.is_none_or(|after| topic > after)
                && grants.read(topic).is_ok()
        });
        let topics = readable.by_ref().take(limit).collect();
        Ok((topics, readable.next().is_some()))
    }

    /// The ids of tasks that may be seen, the most recently updated first: at
    /// most `limit` of those that begin with `prefix`, and whether there are more.
    pub fn task_ids(&self, prefix: &str, limit: usize) -> Result<(Vec<TaskId>, bool), Refused> {
        self.vouch()?;
        let shared = self.hub.shared();
        let client = self.principal.client.as_ref();
        let (tasks, has_more) = shared.tasks.list(limit, |status| {
            status.id().as_str().starts_with(prefix)
                && self.principal.grants.see_task(&status.task.topic).is_ok()
                && status.is_for(client, &shared.groups)
        });
        let ids = tasks.iter().map(|status| status.id().clone());
        Ok((ids.collect(), has_more))
    }

    /// At most `limit` of the tasks that are wanted and may be seen.
    pub async fn tasks(&self, wanted: TaskFilter, limit: usize) -> Result<TaskPage, ReadError> {
        let client = self.ask(self.principal.as_client(wanted.client))?;
        let (topics, is_less) = self.ask(self.principal.grants.narrow_tasks(wanted.topics))?;
        self.sync_groups(client.as_ref()).await?;
        let wanted = TaskFilter {
            topics,
            client,
            ..wanted
        };
        let (tasks, has_more) = self.hub.tasks(&wanted, limit);
        Ok(TaskPage {
            tasks,
            has_more,
            narrowed: is_less.then_some(wanted.topics),
        })
    }

    /// A task, if it is known, and for `client` or nobody in particular.
    pub async fn task(
        &self,
        id: &TaskId,
        client: Option<ClientId>,
    ) -> Result<Option<TaskStatus>, ReadError> {
        let client = self.ask(self.principal.as_client(client))?;
        self.sync_groups(client.as_ref()).await?;
        let Some(status) = self.hub.task(id, client.as_ref()) else {
            return Ok(None);
        };
        let seen = self.principal.grants.see_task(&status.task.topic);
        self.ask(seen.map_err(|_| hidden()))?;
        Ok(Some(status))
    }

    /// The server runs a task itself, in the name of whoever asks, who may report on
    /// `topic`. It has not reported yet.
    pub async fn begin_own_task(&self, id: TaskId, topic: &Topic) -> Result<OwnTask, PublishError> {
        self.ask(self.principal.grants.report(topic))?;
        self.ask(self.may_report(&id))?;
        match own_tasks::begin(self.hub.shared(), id, &self.principal).await {
            Err(PublishError::Refused(Refused::Limited(limited))) => Ok(self.within(Err(limited))?),
            begun => begun,
        }
    }

    /// Has a task end that the server runs itself, for whoever may see and report it.
    pub async fn cancel_task(&self, id: &TaskId) -> Result<CancelTask, ReadError> {
        let Some(status) = self.task(id, None).await? else {
            return Ok(CancelTask::Unknown);
        };
        self.ask(self.may_report(id))?;
        Ok(match self.hub.shared().own_tasks.cancel(id) {
            true => CancelTask::Told,
            false if status.task.progress.state.is_end() => CancelTask::Ended,
            false => CancelTask::NotOurs,
        })
    }

    /// Notes what a client acknowledges, of what it may read.
    pub async fn acknowledge(
        &self,
        client: &ClientId,
        what: Acknowledge,
    ) -> Result<Acknowledged, AcknowledgeError> {
        let allowed = self.principal.may_be(client);
        let allowed = allowed.and_then(|()| self.principal.grants.need(Grant::Acknowledge));
        self.ask(allowed).map_err(PublishError::from)?;
        self.sync_groups(Some(client)).await?;
        let grants = &self.principal.grants;
        let may_read = |topic: &_| grants.read(topic).is_ok();
        receipts::acknowledge(self.hub.shared(), client, what, may_read).await
    }

    /// Who has got, and who has acknowledged, an event: for whoever may publish
    /// such events, or see who is connected.
    pub async fn receipts(&self, event: EventId) -> Result<Option<EventReceipts>, ReadError> {
        let Some(found) = self.hub.receipts(event).await? else {
            return Ok(None);
        };
        let grants = &self.principal.grants;
        let may_publish = grants.publish(&found.topic);
        self.ask(may_publish.or_else(|_| grants.need(Grant::ConnectionsRead)))?;
        Ok(Some(found))
    }

    /// The open streams, the oldest first: all of them, or those of a client.
    pub fn connections(&self, client: Option<&ClientId>) -> Result<Vec<ConnectionStatus>, Refused> {
        match client {
            Some(client) => self.see_client(client)?,
            None => self.need(Grant::ConnectionsRead)?,
        }
        let mut list = self.hub.connection_list();
        list.retain(|status| client.is_none() || status.client.as_ref() == client);
        Ok(list)
    }

    /// What went on in the last hour, the oldest first.
    pub fn activity(&self) -> Result<Vec<Sample>, Refused> {
        self.need(Grant::ConnectionsRead)?;
        Ok(self.hub.activity())
    }

    /// What of the log is kept.
    pub fn retention(&self) -> Result<&Retention, Refused> {
        self.need(Grant::ConnectionsRead)?;
        Ok(&self.hub.shared().config.retention)
    }

    /// Ends a stream, as [`Hub::close_connection`].
    pub fn close_connection(&self, id: Uuid) -> Result<bool, Refused> {
        self.need(Grant::Admin)?;
        let is_closed = self.hub.close_connection(id);
        if is_closed {
            let what = [("connection_id", &*id.to_string())];
            self.hub.audit().done("connection.closed", self.by(), &what);
        }
        Ok(is_closed)
    }

    /// The durable clients.
    pub fn clients(&self) -> Result<Vec<ClientStatus>, Refused> {
        self.need(Grant::ConnectionsRead)?;
        Ok(self.hub.clients())
    }

    /// What is known of a durable client, and as [`Hub::outstanding`].
    pub async fn client(
        &self,
        client: &ClientId,
    ) -> Result<Option<(ClientStatus, (usize, bool))>, ReadError> {
        self.see_client(client)?;
        let Some(status) = self.hub.client(client) else {
            return Ok(None);
        };
        let outstanding = self.hub.outstanding(&status).await?;
        Ok(Some((status, outstanding)))
    }

    /// Forgets a durable client, as [`Hub::forget_client`].
    pub async fn forget_client(&self, client: &ClientId) -> Result<bool, PublishError> {
        self.ask(self.principal.may_be(client))?;
        let (caller, client) = (self.clone(), client.clone());
        to_the_end(async move {
            let is_forgotten = caller.hub.forget_client(&client).await?;
            if is_forgotten {
                let what = [("client_id", client.as_str())];
                let audit = caller.hub.audit();
                audit.noted("client.forgotten", caller.by(), &what);
            }
            Ok(is_forgotten)
        })
        .await
    }

    /// Whether a client may be looked at.
    fn see_client(&self, client: &ClientId) -> Result<(), Refused> {
        let is_it = self.principal.may_be(client);
        self.ask(is_it.or_else(|_| self.principal.grants.need(Grant::ConnectionsRead)))
    }

    /// The groups that have members, and how many.
    pub fn groups(&self) -> Result<BTreeMap<GroupName, usize>, Refused> {
        self.need(Grant::ConnectionsRead)?;
        Ok(self.hub.groups())
    }

    /// The members of a group, in order.
    pub fn group(&self, group: &GroupName) -> Result<Vec<ClientId>, Refused> {
        self.need(Grant::ConnectionsRead)?;
        Ok(self.hub.group(group))
    }

    /// Puts a client into a group, as [`Hub::join_group`].
    pub async fn join_group(&self, group: GroupName, client: ClientId) -> Result<bool, GroupError> {
        self.need(Grant::Admin).map_err(PublishError::from)?;
        let caller = self.clone();
        to_the_end(async move {
            let joined = caller.hub.join_group(group.clone(), client.clone()).await?;
            if joined {
                let what = [("group", group.as_str()), ("client_id", client.as_str())];
                caller.hub.audit().done("group.joined", caller.by(), &what);
            }
            Ok(joined)
        })
        .await
    }

    /// Takes a client out of a group, as [`Hub::leave_group`].
    pub async fn leave_group(
        &self,
        group: GroupName,
        client: ClientId,
    ) -> Result<bool, PublishError> {
        self.need(Grant::Admin)?;
        let caller = self.clone();
        to_the_end(async move {
            let left = caller
                .hub
                .leave_group(group.clone(), client.clone())
                .await?;
            if left {
                let what = [("group", group.as_str()), ("client_id", client.as_str())];
                caller.hub.audit().done("group.left", caller.by(), &what);
            }
            Ok(left)
        })
        .await
    }

    /// What the hub counts.
    pub fn metrics(&self) -> Result<&Metrics, Refused> {
        self.need(Grant::ConnectionsRead)?;
        Ok(self.hub.metrics())
    }

    /// Every key, the newest first.
    pub fn keys(&self) -> Result<Vec<ApiKey>, Refused> {
        self.need(Grant::Admin)?;
        Ok(self.access().keys())
    }

    /// Creates a key: it, and its text, which is not kept.
    pub async fn create_key(&self, of: NewKey) -> Result<(ApiKey, String), KeyError> {
        self.need(Grant::Admin)?;
        let caller = self.clone();
        to_the_end(async move {
            // One after another, so that no two get one name.
            let _storing = caller.hub.shared().storing_keys.lock().await;
            let (key, text) = caller.access().create_key(of, &caller.principal, now())?;
            caller.store_key(&key).await?;
            let is_first = !caller.access().has_keys();
            caller.access().put_key(key.clone());
            if is_first && caller.access().is_open() {
                tracing::warn!(
                    "the first key was created: the server stays open until it is started again; then everybody has to say who they are, unless insecure_no_auth is set"
                );
            }
            let what = [("id", &*key.id), ("name", &key.of.name)];
            caller.hub.audit().done("key.created", caller.by(), &what);
            Ok((key, text))
        })
        .await
    }

    /// Revokes a key: from now on it is good for nothing, and streams that were
    /// opened with it end. False if there is none with this id that is not revoked.
    pub async fn revoke_key(&self, id: &str) -> Result<bool, KeyError> {
        self.need(Grant::Admin)?;
        let Some(key) = self.access().revoked_key(id, now()) else {
            return Ok(false);
        };
        // First here: should storing it take long or fail, it is better revoked
        // than not. It is stored again and again, until that works.
        self.access().put_unsaved_key(key.clone());
        self.hub.end_lapsed(now());
        let what = [("id", &*key.id), ("name", &key.of.name)];
        self.hub.audit().done("key.revoked", self.by(), &what);
        let caller = self.clone();
        to_the_end(async move {
            // Nothing that was read of it before is stored after it.
            let _storing = caller.hub.shared().storing_keys.lock().await;
            let stored = caller.store_key(&key).await;
            match &stored {
                Ok(()) => caller.access().put_key(key),
                Err(error) => {
                    tracing::error!(id = %key.id, %error, "the key is revoked, which is not stored yet; it is tried again");
                }
            }
            stored?;
            Ok(true)
        })
        .await
    }

    async fn store_key(&self, key: &ApiKey) -> Result<(), PublishError> {
        let save = vec![Change::SaveRecord(key_record(key))];
        self.hub.shared().publish(Vec::new(), save).await.map(drop)
    }

    /// A ticket for what may be seen of `filter`: its text, and what it is for.
    pub fn issue_ticket(
        &self,
        filter: Filter,
        client: Option<ClientId>,
    ) -> Result<(String, Ticket), Refused> {
        self.vouch()?;
        let issued = self
            .access()
            .issue_ticket(&self.principal, filter, client, now());
        Ok(issued.inspect_err(|error| {
            let (reason, detail) = match error {
                IssueError::Denied(denied) => (RefusalReason::Denied, denied.to_string()),
                IssueError::Limited(limited) => (RefusalReason::Limited, limited.limit.clone()),
            };
            self.hub.audit().refused(reason, self.by(), &detail);
        })?)
    }

    /// Begins a session of a browser: the value of its cookie, and whoever comes with it.
    /// One that is asked for in a session takes its place.
    pub fn begin_session(&self) -> Result<(String, Arc<Principal>), Refused> {
        self.vouch()?;
        let begun = self.access().begin_session(&self.principal, now());
        let begun = self.within(begun)?;
        self.hub.audit().noted("session.begun", self.by(), &[]);
        self.end_session();
        Ok(begun)
    }

    /// Ends the session in which this is asked, and the streams that were opened
    /// in it. False if it is not asked in one.
    pub fn end_session(&self) -> bool {
        let Some(id) = self.principal.session() else {
            return false;
        };
        self.access().end_session(&id);
        self.hub.audit().noted("session.ended", self.by(), &[]);
        self.hub.end_lapsed(now());
        true
    }
}

/// Does it to the end, whether whoever asks waits for that or hangs up: what is
/// done is also said to be.
pub(crate) async fn to_the_end<T: Send + 'static>(
    deed: impl Future<Output = T> + Send + 'static,
) -> T {
    match tokio::spawn(deed).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

pub(crate) fn key_record(key: &ApiKey) -> Record {
    Record {
        kind: KEY_RECORD.to_owned(),
        id: key.id.to_string(),
        json: key.to_record(),
    }
}

/// What would be enough for any task, so that it does not say where this one is.
fn hidden() -> Denied {
    let everything = "**".parse().expect("a pattern");
    Denied {
        needed: Grant::Tasks(everything),
    }
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
