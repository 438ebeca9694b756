use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use notification_access::{Lapsed, Principal, Slot};
use notification_event::{ClientId, EventId, Filter, JsonObject, Position, Timestamp};
use notification_log::AckMode;
use serde::{Serialize, Serializer};
use tokio::sync::watch;
use uuid::Uuid;

use crate::StreamControl;
use crate::bell::Bell;
use crate::cohort::Cohort;
use crate::explain::{NotGiven, Recipient};
use crate::metrics::ConflationLabel;
use crate::shared::Shared;
use crate::{Frame, Metrics, Rate};

/// The open streams.
#[derive(Debug)]
pub(crate) struct Connections {
    // A std mutex: held to add, remove and look through, never across an await.
    open: Mutex<Open>,
    /// Changed when one was added or removed.
    changes: watch::Sender<()>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Open {
    by_id: HashMap<Uuid, Arc<Connection>>,
    by_client: HashMap<ClientId, Vec<Arc<Connection>>>,
    /// How many of them are read by the server itself.
    unattended: usize,
}

/// What is known of one open stream while its reader is busy, or does not read.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: Uuid,
    pub(crate) of: Belonging,
    cohort: Arc<Cohort>,
    position: AtomicU64,
    /// Where it was when it was opened.
    began_after: Position,
    not_given: Mutex<NotGiven>,
    pace: AtomicU8,
    sent: AtomicU64,
    conflated: AtomicU64,
    /// Set before `closed` is.
    end: OnceLock<End>,
    closed: AtomicBool,
    /// Its client is to be told that its credential expires soon.
    expires_soon: AtomicBool,
    /// That was said.
    warned: AtomicBool,
    /// Where to ring for it, and what to say, if it is not waited for itself.
    bell: OnceLock<(Arc<Bell>, usize)>,
    /// What its client was given and is asked to acknowledge, and has not been
    /// confirmed to have reached it. In order.
    unconfirmed: Mutex<VecDeque<(Position, EventId)>>,
}

/// Why a stream is ended by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// An administrator wants it to end.
    Administrator,
    /// Its credential is no longer good.
    Unauthorized(Lapsed),
    /// Whoever has a [say](StreamControl) in it wants it to end, and says why.
    Over(&'static str),
}

/// Who was let in to a stream, and what for.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    pub(crate) principal: Arc<Principal>,
    /// It gets less than it asked for.
    pub(crate) is_narrowed: bool,
    #[expect(
        dead_code,
        reason = "held while the stream is open, and given back with it"
    )]
    pub(crate) slot: Option<Arc<Slot>>,
}

/// A program that embeds the server.
impl Default for Admission {
    fn default() -> Self {
        Self {
            principal: Arc::new(Principal::local()),
            is_narrowed: false,
            slot: None,
        }
    }
}

/// Whose a stream is, and on what terms it was opened.
#[derive(Clone, Debug)]
pub(crate) struct Belonging {
    pub(crate) client: Option<ClientId>,
    pub(crate) durable: Option<AckMode>,
    pub(crate) max_rate: Option<Rate>,
    pub(crate) since: Timestamp,
    pub(crate) transport: Transport,
    pub(crate) admission: Admission,
    pub(crate) control: Option<Arc<StreamControl>>,
    /// The server itself reads it, for somebody who need not be here. It is no
    /// connection, and nobody is present because of it.
    pub(crate) is_unattended: bool,
}

/// How a stream reaches its reader.
#[derive(Clone, Debug)]
pub struct Transport {
    /// The word for it: `sse`, …
    pub name: &'static str,
    /// The other end, where there is one.
    pub peer: Option<Arc<dyn Peer>>,
}

/// A program that reads its own streams.
impl Default for Transport {
    fn default() -> Self {
        Self {
            name: "rust",
            peer: None,
        }
    }
}

/// The other end of a stream, as far as its transport knows.
pub trait Peer: Debug + Send + Sync {
    /// Where it is.
    fn address(&self) -> SocketAddr;
    /// How many bytes that were written it has not confirmed.
    fn bytes_pending(&self) -> Option<u64>;
    /// Ends the connection, whether its reader reads or not.
    fn abort(&self);
}

/// An open stream, for people to look at.
///
/// JSON: the fields below, `id` as `connection_id` and `client` as `client_id`.
#[derive(Clone, Debug)]
pub struct ConnectionStatus {
    /// What names it.
    pub id: Uuid,
    /// Who opened it, by name.
    pub principal: Arc<str>,
    /// Whose it is.
    pub client: Option<ClientId>,
    /// How it reaches its reader.
    pub transport: &'static str,
    /// What it asked for.
    pub filter: Filter,
    /// What moves its client's place in the log, if that is kept.
    pub durable: Option<AckMode>,
    /// What it is held to.
    pub max_rate: Option<Rate>,
    /// When it was opened.
    pub since: Timestamp,
    /// How many events it was given.
    pub sent: u64,
    /// How many it was not given because newer ones took their place.
    pub conflated: u64,
    /// How many events of the log it has not looked at yet.
    pub lag: u64,
    /// How many bytes were written that its reader has not confirmed.
    pub bytes_pending: Option<u64>,
    /// Where its reader is.
    pub remote_address: Option<SocketAddr>,
}

impl Serialize for ConnectionStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            connection_id: String,
            principal: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            client_id: Option<&'a ClientId>,
            transport: &'static str,
            filter: JsonObject,
            #[serde(skip_serializing_if = "Option::is_none")]
            durable: Option<&'static str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            max_rate: Option<f64>,
            since: Timestamp,
            sent: u64,
            conflated: u64,
            lag: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            bytes_pending: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            remote_address: Option<SocketAddr>,
        }
        Wire {
            connection_id: self.id.to_string(),
            principal: &self.principal,
            client_id: self.client.as_ref(),
            transport: self.transport,
            filter: self.filter.to_json(),
            durable: self.durable.map(|ack| ack.as_str()),
            max_rate: self.max_rate.map(|rate| rate.get()),
            since: self.since,
            sent: self.sent,
            conflated: self.conflated,
            lag: self.lag,
            bytes_pending: self.bytes_pending,
            remote_address: self.remote_address,
        }
        .serialize(serializer)
    }
}

/// Whether a reader keeps up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Pace {
    /// It has not yet reached the head since it began.
    Starting,
    /// It reached the head, and its cohort's ring has all it needs.
    Live,
    /// It was live, and the ring has moved on without it.
    Behind,
}

impl Connections {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            open: Mutex::default(),
            changes: watch::Sender::default(),
            metrics,
        }
    }

    /// Tells when one was added or removed.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(crate) fn add(
        &self,
        id: Uuid,
        of: Belonging,
        cohort: Arc<Cohort>,
        position: Position,
    ) -> Arc<Connection> {
        let connection = Arc::new(Connection {
            id,
            of,
            cohort,
            position: AtomicU64::new(position.0),
            began_after: position,
            not_given: Mutex::default(),
            pace: AtomicU8::new(Pace::Starting as u8),
            sent: AtomicU64::new(0),
            conflated: AtomicU64::new(0),
            end: OnceLock::new(),
            closed: AtomicBool::new(false),
            expires_soon: AtomicBool::new(false),
            warned: AtomicBool::new(false),
            bell: OnceLock::new(),
            unconfirmed: Mutex::default(),
        });
        let mut open = self.open();
        open.by_id.insert(connection.id, connection.clone());
        if connection.of.is_unattended {
            open.unattended += 1;
            return connection.clone();
        }
        if let Some(client) = &connection.of.client {
            let of_client = open.by_client.entry(client.clone()).or_default();
            of_client.push(connection.clone());
        }
        drop(open);
        self.changes.send_replace(());
        self.metrics.connections.inc();
        connection
    }

    pub(crate) fn remove(&self, connection: &Connection) {
        let mut open = self.open();
        open.by_id.remove(&connection.id);
        if connection.of.is_unattended {
            open.unattended -= 1;
            return;
        }
        if let Some(client) = &connection.of.client
            && let Some(of_client) = open.by_client.get_mut(client)
        {
            of_client.retain(|other| other.id != connection.id);
            if of_client.is_empty() {
                open.by_client.remove(client);
            }
        }
        drop(open);
        self.changes.send_replace(());
        self.metrics.connections.dec();
        if connection
            .pace
            .swap(Pace::Starting as u8, Ordering::Relaxed)
            == Pace::Behind as u8
        {
            self.metrics.slow_readers.dec();
        }
    }

    pub(crate) fn count(&self) -> usize {
        let open = self.open();
        open.by_id.len() - open.unattended
    }

    /// Every stream, the oldest first.
    pub(crate) fn list(&self, head: Position) -> Vec<ConnectionStatus> {
        let open = self.open();
        let attended = open.by_id.values().filter(|c| !c.of.is_unattended);
        let open: Vec<_> = attended.cloned().collect();
        let mut list: Vec<_> = open.iter().map(|c| c.status(head)).collect();
        list.sort_by_key(|status| (status.since, status.id));
        list
    }

    /// The events up to and including `position` that a client was given and is
    /// asked to acknowledge, and that have not been confirmed to have reached it.
    pub(crate) fn unconfirmed(&self, client: &ClientId, position: Position) -> Vec<EventId> {
        let of_client = self.open().by_client.get(client).cloned();
        let mut events = Vec::new();
        for connection in of_client.into_iter().flatten() {
            let unconfirmed = connection.asking();
            let given = unconfirmed.iter().take_while(|(p, _)| *p <= position);
            events.extend(given.map(|(_, event)| event.clone()));
        }
        events
    }

    /// Has a stream look again at what it waits for.
    pub(crate) fn wake(&self, id: Uuid) {
        let connection = self.open().by_id.get(&id).cloned();
        if let Some(connection) = connection {
            connection.wake();
        }
    }

    /// The stream with this id, if it is open.
    pub(crate) fn get(&self, id: Uuid) -> Option<Arc<Connection>> {
        self.open().by_id.get(&id).cloned()
    }

    /// The streams of those who had to say who they are.
    pub(crate) fn of_principals(&self) -> Vec<Arc<Connection>> {
        let open = self.open();
        let open = open.by_id.values();
        open.filter(|c| !c.principal().is_local())
            .cloned()
            .collect()
    }

    /// Finds the readers that have fallen behind without noticing it, because
    /// they do not read.
    pub(crate) fn look_for_slow_readers(&self) {
        for connection in self.open().by_id.values() {
            if connection.cohort.is_past(connection.position()) {
                self.fell_behind(connection);
            }
        }
    }

    /// Takes note that a reader which was live has to go to the log.
    pub(crate) fn fell_behind(&self, connection: &Connection) {
        if connection.change_pace(Pace::Live, Pace::Behind) {
            let position = connection.position();
            tracing::info!(connection = %connection.id, position = position.0, "slow reader");
            self.metrics.slow_readers_seen.inc();
            self.metrics.slow_readers.inc();
        }
    }

    /// Takes note that a reader has all there is.
    pub(crate) fn caught_up(&self, connection: &Connection) {
        if connection.pace.load(Ordering::Relaxed) == Pace::Live as u8 {
            return;
        }
        if connection.change_pace(Pace::Behind, Pace::Live) {
            self.metrics.slow_readers.dec();
        } else {
            connection.change_pace(Pace::Starting, Pace::Live);
        }
    }

    /// What became of an event for each stream.
    pub(crate) fn explain(&self, shared: &Shared, frame: &Frame) -> Vec<Recipient> {
        let open = self.open();
        let attended = open.by_id.values().filter(|c| !c.of.is_unattended);
        let attended: Vec<_> = attended.cloned().collect();
        drop(open);
        let explained = attended.iter().map(|it| it.explain(shared, frame));
        explained.collect()
    }

    /// Takes note that a reader was not given events, because newer ones took their place.
    pub(crate) fn conflated(&self, connection: &Connection, reason: &'static str, events: u64) {
        connection.conflated.fetch_add(events, Ordering::Relaxed);
        let label = ConflationLabel { reason };
        self.metrics.conflated.get_or_create(&label).inc_by(events);
    }

    /// Whether a stream is still open.
    pub(crate) fn is_open(&self, id: Uuid) -> bool {
        self.open().by_id.contains_key(&id)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("no holder panics")
    }
}

impl Connection {
    /// Takes note of events for itself; who counts them all does so apart.
    pub(crate) fn sent(&self, events: usize) {
        self.sent.fetch_add(events as u64, Ordering::Relaxed);
    }

    pub(crate) fn filter(&self) -> &Filter {
        &self.cohort.filter
    }

    pub(crate) fn began_after(&self) -> Position {
        self.began_after
    }

    /// Takes note that it was not given what it wanted, and why.
    pub(crate) fn not_given(&self, position: Position, why: &'static str) {
        let mut not_given = self.not_given.lock().expect("no holder panics");
        not_given.push(position, why);
    }

    /// Why it was not given what it wanted, if it was not.
    pub(crate) fn why_not(&self, position: Position) -> Option<&'static str> {
        let not_given = self.not_given.lock().expect("no holder panics");
        not_given.why(position)
    }

    /// Whether it is not known any more if it was given what it wanted.
    pub(crate) fn has_forgotten(&self, position: Position) -> bool {
        let not_given = self.not_given.lock().expect("no holder panics");
        not_given.has_forgotten(position)
    }

    pub(crate) fn moved_to(&self, position: Position) {
        self.position.store(position.0, Ordering::Relaxed);
    }

    pub(crate) fn wake(&self) {
        match self.bell.get() {
            Some((bell, token)) => bell.ring_for_stream(*token),
            None => self.cohort.wake_all(),
        }
    }

    /// Has `bell` say `token` from now on when this stream has to look again.
    pub(crate) fn attach(&self, bell: Arc<Bell>, token: usize) {
        // A stream changes hands once, when it is opened.
        let _ = self.bell.set((bell, token));
        // With that in `close`: either who closes it finds the bell, or who
        // attaches it finds it closed.
        fence(Ordering::SeqCst);
    }

    pub(crate) fn principal(&self) -> &Principal {
        &self.of.admission.principal
    }

    /// Has it told that its credential expires soon, once.
    pub(crate) fn warn_of_expiry(&self) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            self.expires_soon.store(true, Ordering::Release);
            fence(Ordering::SeqCst);
            self.wake();
        }
    }

    /// When its credential expires, if that is to be told now.
    pub(crate) fn take_warning(&self) -> Option<Timestamp> {
        // Looked at for each delivery, and hardly ever set.
        let expires_soon = self.expires_soon.load(Ordering::Acquire)
            && self.expires_soon.swap(false, Ordering::AcqRel);
        expires_soon.then(|| self.principal().expires_at).flatten()
    }

    /// Has it told to end. What was the reason first stays it.
    pub(crate) fn close(&self, end: End) {
        let _ = self.end.set(end);
        self.closed.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        self.wake();
    }

    /// Ends the connection under it.
    pub(crate) fn abort(&self) {
        if let Some(peer) = &self.of.transport.peer {
            peer.abort();
        }
    }

    /// Why it was told to end, if it was.
    pub(crate) fn end(&self) -> Option<End> {
        let is_closed = self.closed.load(Ordering::Acquire);
        is_closed.then(|| self.end.get().copied()).flatten()
    }

    /// Takes note of events that its client was given and is asked to acknowledge.
    pub(crate) fn unconfirmed(&self, events: impl Iterator<Item = (Position, EventId)>) {
        self.asking().extend(events);
    }

    /// Whether there are any that have not been confirmed to have reached it.
    pub(crate) fn has_unconfirmed(&self) -> bool {
        !self.asking().is_empty()
    }

    /// Those up to and including `position` have reached it.
    pub(crate) fn confirmed(&self, position: Position) -> Vec<EventId> {
        let mut asking = self.asking();
        let reached = asking.partition_point(|(p, _)| *p <= position);
        asking.drain(..reached).map(|(_, event)| event).collect()
    }

    fn asking(&self) -> MutexGuard<'_, VecDeque<(Position, EventId)>> {
        self.unconfirmed.lock().expect("no holder panics")
    }

    pub(crate) fn position(&self) -> Position {
        Position(self.position.load(Ordering::Relaxed))
    }

    fn change_pace(&self, from: Pace, to: Pace) -> bool {
        let (from, to) = (from as u8, to as u8);
        let changed = self
            .pace
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        changed.is_ok()
    }

    fn status(&self, head: Position) -> ConnectionStatus {
        let Belonging {
            client,
            durable,
            max_rate,
            since,
            transport,
            admission,
            control: _,
            is_unattended: _,
        } = self.of.clone();
        ConnectionStatus {
            id: self.id,
            principal: admission.principal.name.clone(),
            client,
            transport: transport.name,
            filter: self.cohort.filter.clone(),
            durable,
            max_rate,
            since,
            sent: self.sent.load(Ordering::Relaxed),
            conflated: self.conflated.load(Ordering::Relaxed),
            lag: head.since(self.position()),
            bytes_pending: transport.peer.as_ref().and_then(|p| p.bytes_pending()),
            remote_address: transport.peer.map(|peer| peer.address()),
        }
    }
}
