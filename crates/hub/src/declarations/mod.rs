//! Which events applications have declared, and what of them is delivered to
//! those who subscribe to a declaration by its name.
//!
//! - [`Declared`] is a [`Declaration`] that is in force, with its schema compiled:
//!   events of its name are held against it when they are published.
//! - `built_in.rs` are those of the server itself, `payload.rs` the check.

mod built_in;
mod payload;

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock, RwLockReadGuard};

use notification_access::{Grant, Refused};
use notification_event::{
    Body, Breaking, Declaration, Draft, EventName, Filter, Invalid, JsonObject, Topic,
};
use notification_log::{Change, LogError, Record};
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};

use self::built_in::BuiltIn;
use self::payload::Payload;
use crate::shared::Shared;
use crate::{Caller, Frame, Hub, PublishError};

/// What declarations are called among the records.
const RECORD: &str = "event_type";

/// The most that can be declared.
const MAX_DECLARED: usize = 10_000;

/// The event types that are in force.
#[derive(Debug)]
pub(crate) struct Declarations {
    // A std lock, held for lookups; never across an await.
    known: RwLock<BTreeMap<EventName, Arc<Declared>>>,
    /// Changed when one is declared, or is not any more.
    changes: watch::Sender<()>,
    /// Held while one is stored, so that one change follows the other.
    storing: Mutex<()>,
    allow_undeclared: bool,
}

/// The event types of the server's settings.
#[derive(Clone, Debug)]
pub struct EventTypesConfig {
    /// Whether events of other names can be published.
    pub allow_undeclared: bool,
    declared: Vec<Arc<Declared>>,
}

impl Default for EventTypesConfig {
    fn default() -> Self {
        Self {
            allow_undeclared: true,
            declared: Vec::new(),
        }
    }
}

impl EventTypesConfig {
    /// Adds one.
    pub fn declare(&mut self, declaration: Declaration) -> Result<(), Invalid> {
        let name = &declaration.name;
        if BuiltIn::ALL.iter().any(|it| it.declaration().name == *name) {
            return Err(Invalid::value("another name: this one is the server's own"));
        }
        let declared = Declared::new(declaration, Origin::Settings)?;
        self.declared.push(Arc::new(declared));
        Ok(())
    }
}

/// A declaration in force.
#[derive(Debug)]
pub struct Declared {
    /// What was declared.
    pub declaration: Declaration,
    /// Where.
    pub origin: Origin,
    /// How often it was replaced by one that broke what subscribers relied on.
    pub revision: u64,
    /// What was broken the last time.
    pub broke: Option<Breaking>,
    payload: Option<Payload>,
    built_in: Option<BuiltIn>,
}

/// An event, as what it is delivered to those who subscribe to its event type (MCP
/// Events, "Event Occurrence").
#[derive(Debug)]
pub struct Occurrence {
    /// What a [`Selector`](notification_event::Selector) chooses by.
    pub data: JsonObject,
    json: String,
}

impl Occurrence {
    /// `{"eventId", "name", "timestamp", "data", "cursor"}`, on one line.
    pub fn json(&self) -> &str {
        &self.json
    }
}

/// Where something is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By the server itself.
    BuiltIn,
    /// In its settings.
    Settings,
    /// While it ran.
    Stored,
}

/// Why something is not declared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeclareError {
    /// One may not.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It is no declaration.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It is declared elsewhere, and only there can it be changed.
    #[error("the event type {name} is declared {}, and can be changed there only", origin.place())]
    Elsewhere {
        /// Which.
        name: EventName,
        /// Where.
        origin: Origin,
    },
    /// It would break what those rely on who have subscribed.
    #[error("{}: expected what only adds to the event type, as {}", broken.field(), broken.reason())]
    Breaking {
        /// What of it.
        broken: Breaks,
    },
    /// There are as many as there may be.
    #[error("there are {MAX_DECLARED} event types, which is the most")]
    TooMany,
    /// It cannot be stored.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// What of a declaration would be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaks(pub Breaking);

impl Breaks {
    /// The field that would.
    pub fn field(self) -> &'static str {
        match self.0 {
            Breaking::Payload => "payload_schema",
            Breaking::Arguments => "arguments",
            Breaking::Delivery => "delivery",
        }
    }

    fn reason(self) -> &'static str {
        match self.0 {
            Breaking::Payload => "subscribers rely on what is in their data",
            Breaking::Arguments => "subscriptions choose by them",
            Breaking::Delivery => "subscriptions are delivered so",
        }
    }
}

impl Origin {
    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BuiltIn => "built_in",
            Self::Settings => "settings",
            Self::Stored => "stored",
        }
    }

    fn place(self) -> &'static str {
        match self {
            Self::BuiltIn => "by the server itself",
            Self::Settings => "in the server's settings",
            Self::Stored => "over HTTP",
        }
    }
}

impl Declared {
    fn new(declaration: Declaration, origin: Origin) -> Result<Self, Invalid> {
        let payload = declaration.payload_schema.as_ref();
        Ok(Self {
            payload: payload.map(Payload::compile).transpose()?,
            declaration,
            origin,
            revision: 0,
            broke: None,
            built_in: None,
        })
    }

    /// Which events are of this type, as far as a filter can tell.
    pub fn filter(&self) -> Filter {
        match self.built_in {
            Some(built_in) => built_in.filter(),
            None => Filter {
                names: vec![self.declaration.name.clone()],
                ..Filter::default()
            },
        }
    }

    /// As what an event is delivered that passes the filter; none if it is not of
    /// this type all the same. Made once for all who subscribe.
    pub fn occurrence<'a>(&self, frame: &'a Frame) -> Option<&'a Occurrence> {
        // Before what is kept, which is that of the one type that it is of.
        if self.built_in.is_some_and(|built_in| !built_in.is(frame)) {
            return None;
        }
        frame.occurrence(|| {
            let data = self.data(frame)?;
            let fields = json!({
                "eventId": frame.head.id,
                "name": self.declaration.name,
                "timestamp": frame.head.timestamp,
                "data": data,
                "cursor": frame.cursor(),
            });
            Some(Occurrence {
                data,
                json: fields.to_string(),
            })
        })
    }

    fn data(&self, frame: &Frame) -> Option<JsonObject> {
        let Ok(Value::Object(mut event)) = serde_json::from_slice(frame.json()) else {
            return None;
        };
        match self.built_in {
            Some(built_in) => Some(built_in.data(event)),
            None => Some(match event.shift_remove("data") {
                Some(Value::Object(data)) => data,
                _ => JsonObject::new(),
            }),
        }
    }

    fn record(&self) -> Record {
        let mut json = self.declaration.to_json();
        json.insert("revision".to_owned(), self.revision.into());
        Record {
            kind: RECORD.to_owned(),
            id: self.declaration.name.as_str().to_owned(),
            json: Value::Object(json).to_string(),
        }
    }

    fn from_record(record: &Record) -> Result<Self, LogError> {
        let damaged = |reason: &dyn std::fmt::Display| {
            LogError::Damaged(format!("the event type {}: {reason}", record.id))
        };
        let name = record.id.parse().map_err(|error| damaged(&error))?;
        let json = serde_json::from_str(&record.json);
        let mut json: JsonObject = json.map_err(|error| damaged(&error))?;
        let revision = json.remove("revision").and_then(|it| it.as_u64());
        let declaration = Declaration::parse(name, Value::Object(json));
        let declaration = declaration.map_err(|error| damaged(&error))?;
        let declared = Self::new(declaration, Origin::Stored);
        Ok(Self {
            revision: revision.unwrap_or_default(),
            ..declared.map_err(|error| damaged(&error))?
        })
    }
}

impl Declarations {
    /// Those of the server itself, of its settings, and those that were stored. What
    /// is in the settings counts, whatever was stored of the same name.
    pub(crate) fn load(config: &EventTypesConfig, records: &[Record]) -> Result<Self, LogError> {
        let records = records.iter().filter(|record| record.kind == RECORD);
        let stored = records.map(|record| Declared::from_record(record).map(Arc::new));
        let stored = stored.collect::<Result<Vec<_>, _>>()?;
        let built_in = BuiltIn::ALL.into_iter().map(|built_in| {
            let declared = Declared::new(built_in.declaration(), Origin::BuiltIn);
            Arc::new(Declared {
                built_in: Some(built_in),
                ..declared.expect("its schema is one")
            })
        });
        let all = stored
            .into_iter()
            .chain(config.declared.iter().cloned())
            .chain(built_in);
        Ok(Self {
            known: RwLock::new(all.map(|it| (it.declaration.name.clone(), it)).collect()),
            changes: watch::Sender::default(),
            storing: Mutex::default(),
            allow_undeclared: config.allow_undeclared,
        })
    }

    fn known(&self) -> RwLockReadGuard<'_, BTreeMap<EventName, Arc<Declared>>> {
        self.known.read().expect("no holder panics")
    }

    fn get(&self, name: &EventName) -> Option<Arc<Declared>> {
        self.known().get(name).cloned()
    }

    /// Puts an event where those of its name go, if its publisher did not say where.
    pub(crate) fn place(&self, draft: &mut Draft) {
        let Body::Application(application) = &draft.body else {
            return;
        };
        if draft.topic != Topic::default() {
            return;
        }
        let declared = self.get(&application.name);
        if let Some(topic) = declared.and_then(|it| it.declaration.topic.clone()) {
            draft.topic = topic;
        }
    }

    /// Whether an event is as it was declared.
    pub(crate) fn check(&self, draft: &Draft) -> Result<(), Invalid> {
        let Body::Application(application) = &draft.body else {
            return Ok(());
        };
        // Nobody else publishes there.
        if draft.topic.is_reserved() {
            return Ok(());
        }
        match self.get(&application.name) {
            Some(declared) if declared.origin == Origin::BuiltIn => Err(Invalid::field(
                "name",
                "another name: events of this one are the server's own",
            )),
            Some(declared) => match &declared.payload {
                Some(payload) => payload.check(draft.data.as_ref().unwrap_or(&JsonObject::new())),
                None => Ok(()),
            },
            None if self.allow_undeclared => Ok(()),
            None => Err(Invalid::field("name", "that of a declared event type")),
        }
    }

    fn put(&self, declared: Declared) -> Arc<Declared> {
        let declared = Arc::new(declared);
        let name = declared.declaration.name.clone();
        let mut known = self.known.write().expect("no holder panics");
        known.insert(name, declared.clone());
        drop(known);
        self.changes.send_replace(());
        declared
    }
}

impl Hub {
    /// The event types, in the order of their names.
    pub fn event_types(&self) -> Vec<Arc<Declared>> {
        self.shared()
            .declarations
            .known()
            .values()
            .cloned()
            .collect()
    }

    /// An event type, if it is declared.
    pub fn event_type(&self, name: &EventName) -> Option<Arc<Declared>> {
        self.shared().declarations.get(name)
    }

    /// Tells when an event type has been declared, or is not any more.
    pub fn event_types_changed(&self) -> watch::Receiver<()> {
        self.shared().declarations.changes.subscribe()
    }

    /// Declares an event type, or declares it anew: what only adds to it, or anything
    /// if it `may_break` what those rely on who have subscribed. Says whether there
    /// was one.
    pub async fn declare(
        &self,
        declaration: Declaration,
        may_break: bool,
    ) -> Result<(Arc<Declared>, bool), DeclareError> {
        let declarations = &self.shared().declarations;
        let _storing = declarations.storing.lock().await;
        let before = declarations.get(&declaration.name);
        let mut declared = Declared::new(declaration, Origin::Stored)?;
        let name = declared.declaration.name.clone();
        match &before {
            Some(before) if before.origin != Origin::Stored => {
                let origin = before.origin;
                return Err(DeclareError::Elsewhere { name, origin });
            }
            Some(before) => {
                let broke = before.declaration.breaks(&declared.declaration);
                match broke {
                    Some(breaking) if !may_break => {
                        let broken = Breaks(breaking);
                        return Err(DeclareError::Breaking { broken });
                    }
                    Some(_) => (declared.revision, declared.broke) = (before.revision + 1, broke),
                    None => (declared.revision, declared.broke) = (before.revision, before.broke),
                }
            }
            None if declarations.known().len() >= MAX_DECLARED => {
                return Err(DeclareError::TooMany);
            }
            None => {}
        }
        store(self.shared(), Change::SaveRecord(declared.record())).await?;
        Ok((declarations.put(declared), before.is_some()))
    }

    /// Takes a declaration back. False if there was none.
    pub async fn undeclare(&self, name: &EventName) -> Result<bool, DeclareError> {
        let declarations = &self.shared().declarations;
        let _storing = declarations.storing.lock().await;
        match declarations.get(name) {
            None => return Ok(false),
            Some(declared) if declared.origin != Origin::Stored => {
                let (name, origin) = (name.clone(), declared.origin);
                return Err(DeclareError::Elsewhere { name, origin });
            }
            Some(_) => {}
        }
        let (kind, id) = (RECORD.to_owned(), name.as_str().to_owned());
        store(self.shared(), Change::RemoveRecord { kind, id }).await?;
        declarations
            .known
            .write()
            .expect("no holder panics")
            .remove(name);
        declarations.changes.send_replace(());
        Ok(true)
    }
}

async fn store(shared: &Shared, change: Change) -> Result<(), PublishError> {
    shared.publish(Vec::new(), vec![change]).await.map(drop)
}

impl Caller {
    /// The event types, in the order of their names.
    pub fn event_types(&self) -> Result<Vec<Arc<Declared>>, Refused> {
        self.vouch()?;
        Ok(self.hub().event_types())
    }

    /// Declares an event type, as [`Hub::declare`].
    pub async fn declare(
        &self,
        declaration: Declaration,
        may_break: bool,
    ) -> Result<(Arc<Declared>, bool), DeclareError> {
        self.need(Grant::Admin)?;
        let caller = self.clone();
        crate::caller::to_the_end(async move {
            let name = declaration.name.as_str().to_owned();
            let declared = caller.hub().declare(declaration, may_break).await?;
            caller.note_deed("event_type.declared", &[("name", &name)]);
            Ok(declared)
        })
        .await
    }

    /// Takes a declaration back, as [`Hub::undeclare`].
    pub async fn undeclare(&self, name: EventName) -> Result<bool, DeclareError> {
        self.need(Grant::Admin)?;
        let caller = self.clone();
        crate::caller::to_the_end(async move {
            let was_declared = caller.hub().undeclare(&name).await?;
            if was_declared {
                caller.note_deed("event_type.removed", &[("name", name.as_str())]);
            }
            Ok(was_declared)
        })
        .await
    }
}

/// For documents that describe the server: an event type that is in force.
impl serde::Serialize for Declared {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = json!({
            "name": self.declaration.name.as_str(),
            "origin": self.origin.as_str(),
            "revision": self.revision,
        });
        if let Value::Object(object) = &mut json {
            object.extend(self.declaration.to_json());
            object.insert(
                "input_schema".to_owned(),
                Value::Object(self.declaration.input_schema()),
            );
        }
        json.serialize(serializer)
    }
}
