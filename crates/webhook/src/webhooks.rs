use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use notification_access::{Grant, Principal, Refused};
use notification_event::{
    Cursor, Delivery, EventId, EventName, Filter, Invalid, JsonObject, Timestamp,
};
use notification_hub::{Beginning, Caller, Hub, LogError, PublishError, ReadError, Start};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::client::Client;
use crate::destination::Destinations;
use crate::explain::Explainer;
use crate::secret::SigningKey;
use crate::sender::{Item, now};
use crate::shared::Shared;
use crate::webhook::{Command, Definition, State};
use crate::webhook::{Wanted, Webhook};
use crate::{
    Attempt, Condition, DeadLetter, Endpoint, Metrics, Outcome, Secret, WebhooksConfig, record,
    sender, verification, worker,
};

/// How often what has changed is stored.
const SAVE: Duration = Duration::from_secs(1);

/// How long somebody who asks where a webhook is waits for its worker.
const PLACE: Duration = Duration::from_secs(2);

/// The webhooks of a server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Webhooks {
    shared: Arc<Shared>,
}

/// Which webhook is wanted.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Where deliveries go.
    pub url: String,
    /// Which events.
    pub wanted: NewWanted,
    /// From where on.
    pub start: Start,
    /// What signs deliveries; a new one if there is none.
    pub secret: Option<Secret>,
    /// What people know it by.
    pub description: Option<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// Which events a webhook is to be sent.
#[derive(Clone, Debug)]
pub enum NewWanted {
    /// As they are on streams.
    Filter(Filter),
    /// As occurrences of an event type, chosen by arguments.
    EventType(EventName, JsonObject),
}

/// What of a webhook is to be otherwise. What is none stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Where deliveries go.
    pub url: Option<String>,
    /// Which events.
    pub wanted: Option<NewWanted>,
    /// What people know it by.
    pub description: Option<String>,
    /// Whether nothing is sent. One that is suspended begins again if this is false.
    pub is_paused: Option<bool>,
}

/// A subscription of an MCP client to an event type (SEP-3415, "Webhook-Based
/// Delivery").
#[derive(Clone, Debug)]
pub struct NewSubscription {
    /// Where deliveries go.
    pub url: String,
    /// What signs them.
    pub secret: Secret,
    /// The event type.
    pub name: EventName,
    /// What chooses among its events.
    pub arguments: JsonObject,
    /// From where on, if it is new.
    pub beginning: Beginning,
    /// How long it is wanted.
    pub life: Life,
}

/// How long a subscription is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// As long as the server likes.
    Unsaid,
    /// So long.
    For(Duration),
    /// Until it is ended.
    Endless,
}

/// A subscription that was granted.
#[derive(Clone, Debug)]
pub struct Granted {
    /// What deliveries name.
    pub id: String,
    /// When it ends, unless it is subscribed to again; none if it does not.
    pub refresh_before: Option<Timestamp>,
    /// Where it is.
    pub cursor: Cursor,
    /// Whether that is later than where it was to begin.
    pub truncated: bool,
    /// How deliveries do, if it was there before.
    pub status: Option<DeliveryStatus>,
}

/// How deliveries do.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryStatus {
    /// Whether there are any.
    pub is_active: bool,
    /// When something was last taken.
    pub last_delivery_at: Option<Timestamp>,
    /// What was the last to go wrong.
    pub last_error: Option<Outcome>,
    /// Since when nothing is taken.
    pub failed_since: Option<Timestamp>,
    /// Until when the endpoint wants to be left alone.
    pub throttled_until: Option<Timestamp>,
}

/// Why something was not done with a webhook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// One may not.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It makes no sense.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is none of this id that one may see.
    #[error("no webhook {0}")]
    Unknown(String),
    /// Not as it is now.
    #[error("the webhook is {0}: resume it first")]
    NotActive(Condition),
    /// It is for its MCP client to change.
    #[error(
        "{0} is a subscription of an MCP client, which alone can change it; it can be paused and deleted"
    )]
    OfClient(String),
    /// There are as many as there may be.
    #[error("there are {max} webhooks of {of}, which is the most")]
    TooMany {
        /// Of whom.
        of: &'static str,
        /// How many.
        max: usize,
    },
    /// Whoever is there does not want to be sent anything.
    #[error(transparent)]
    Unverified(#[from] VerifyError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It cannot be stored.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Why it is not known whether an endpoint wants to be sent anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It did not say so.
    #[error(
        "the endpoint did not show that it wants to be sent events ({reason}): it has to answer {{\"type\": \"verification\", \"challenge\": …}} with {{\"challenge\": …}}"
    )]
    Failed {
        /// A word: `challenge_failed`, `timeout`, `http_4xx`, …
        reason: &'static str,
    },
    /// Its place was asked too often.
    #[error("endpoints at this place are verified too often; try again in {} s", retry_after.as_secs() + 1)]
    TooMany {
        /// When to try again.
        retry_after: Duration,
    },
}

impl From<ReadError> for WebhookError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Refused(refused) => refused.into(),
            ReadError::Log(error) => error.into(),
            ReadError::Publish(error) => error.into(),
        }
    }
}

impl Webhooks {
    /// Those of a hub. None are known, and nothing is sent, before they are
    /// [started](Self::start).
    pub fn new(hub: Hub, config: WebhooksConfig) -> Self {
        let client = Client::new(
            Arc::new(config.guard.clone()),
            config.resolve.clone(),
            config.authorities.clone(),
            config.timeout,
        );
        let shared = Arc::new(Shared {
            client,
            destinations: Destinations::new(config.destination),
            key: SigningKey::new(&hub.access().secret().derive("webhook signing key")),
            metrics: Metrics::default(),
            known: Default::default(),
            verified: Mutex::default(),
            storing: Default::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            hub,
            config,
        });
        Self { shared }
    }

    /// Goes on with the webhooks that are stored. Needs a tokio runtime.
    pub async fn start(&self) -> Result<(), LogError> {
        self.load().await?;
        let shared = self.shared.clone();
        let explainer = Explainer(Arc::downgrade(&shared));
        shared.hub.also_explain(Arc::new(explainer));
        let keeping = keep(shared.clone());
        shared
            .tasks
            .spawn(shared.stop.clone().run_until_cancelled_owned(keeping));
        let looking = look(shared.clone());
        shared
            .tasks
            .spawn(shared.stop.clone().run_until_cancelled_owned(looking));
        Ok(())
    }

    async fn load(&self) -> Result<(), LogError> {
        let shared = &self.shared;
        let places = shared.hub.records(record::PLACE).await?.into_iter();
        let places = places.filter_map(|place| {
            let read = record::read_place(&place)?;
            Some((place.id, read))
        });
        let mut places: HashMap<_, _> = places.collect();
        let letters = shared.hub.records(record::LETTER).await?;
        let mut letters_of: HashMap<&str, Vec<DeadLetter>> = HashMap::new();
        for letter in &letters {
            if let Some((webhook, letter)) = record::read_letter(letter) {
                letters_of.entry(webhook).or_default().push(letter);
            }
        }
        let epoch = shared.hub.log_bounds().epoch;
        for stored in shared.hub.records(record::WEBHOOK).await? {
            let secret = shared.hub.access().secret();
            let it = match record::read_webhook(&stored, secret, &shared.destinations) {
                Ok(it) => it,
                Err(reason) => {
                    // Said, and left as it is: nobody knows what was meant.
                    tracing::error!(webhook = %stored.id, reason, "a webhook cannot be read and is not delivered");
                    continue;
                }
            };
            let Some(place) = places.remove(&stored.id) else {
                tracing::error!(webhook = %stored.id, "a webhook has no place in the log and is not delivered");
                continue;
            };
            let mut state = State::new(it.of, place.watermark);
            state.began = place.began;
            if place.watermark.epoch == epoch {
                state.settled = place.settled;
            }
            state.health.suspended_at = place.suspended_at;
            let mut letters = letters_of.remove(stored.id.as_str()).unwrap_or_default();
            letters.sort_by_key(|letter| letter.at);
            state.letters = letters.into();
            let owner = Arc::new(it.owner);
            verification::remember(shared, &owner, &state.of.endpoint);
            self.begin(stored.id, owner, it.created_at, it.is_subscription, state);
        }
        Ok(())
    }

    /// Has one be known, and sent to.
    fn begin(
        &self,
        id: String,
        owner: Arc<Principal>,
        created_at: Timestamp,
        is_subscription: bool,
        state: State,
    ) -> Arc<Webhook> {
        let (webhook, commands) = Webhook::new(id, owner, created_at, is_subscription, state);
        self.run(webhook, commands)
    }

    fn run(
        &self,
        webhook: Arc<Webhook>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Arc<Webhook> {
        let shared = &self.shared;
        let mut known = shared.known.write().expect("no holder panics");
        known.insert(webhook.id.clone(), webhook.clone());
        drop(known);
        let work = worker::run(shared.clone(), webhook.clone(), commands);
        shared.tasks.spawn(work);
        webhook
    }

    /// Stops: what is just being sent has a moment, the rest is sent when the server
    /// is started again. Before the hub is closed.
    pub async fn close(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.save().await;
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The key with which deliveries are signed beside their secret, for receivers
    /// to verify: `whpk_` and base64; none if they are not.
    pub fn public_key(&self) -> Option<String> {
        let signs = self.shared.config.sign_with_key;
        signs.then(|| self.shared.key.public())
    }

    /// Whether addresses on this machine are delivered to.
    pub fn allows_loopback(&self) -> bool {
        self.shared.config.guard.allow_loopback
    }

    /// Creates a webhook: what it is, and its secret, which is not shown again.
    pub async fn create(
        &self,
        caller: &Caller,
        of: NewWebhook,
    ) -> Result<(JsonObject, String), WebhookError> {
        caller.need(Grant::Webhooks)?;
        let shared = &self.shared;
        let endpoint = self.endpoint(&of.url)?;
        let wanted = self.wanted(caller, of.wanted)?;
        let beginning = shared.hub.find(of.start, None).await?;
        let secret = of.secret.unwrap_or_else(Secret::generate);
        let definition = Definition {
            destination: shared.destinations.get(&endpoint.origin()),
            endpoint: endpoint.clone(),
            secrets: vec![(secret.clone(), None)],
            wanted,
            description: of.description,
            is_paused: false,
            expires_at: of.expires_at,
        };
        let id = format!("wh_{}", Uuid::now_v7().simple());
        let webhook = prepare(caller, id, false, definition, beginning.cursor);
        // Who runs the server answers for where it sends to.
        if !caller.principal().grants.is_admin() {
            verification::verify(shared, &webhook.0, &endpoint, &secret).await?;
        }
        let webhook = self.add(webhook).await?;
        caller.note_often("webhook.created", &[("id", &webhook.id)]);
        Ok((webhook.to_json(), secret.reveal()))
    }

    /// Every webhook that one may see, the oldest first.
    pub fn list(&self, caller: &Caller) -> Result<Vec<JsonObject>, WebhookError> {
        caller.need(Grant::Webhooks)?;
        let mut all = self.shared.all();
        all.retain(|webhook| is_seen_by(webhook, caller));
        all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(all.iter().map(|webhook| webhook.to_json()).collect())
    }

    /// One webhook.
    pub async fn get(&self, caller: &Caller, id: &str) -> Result<JsonObject, WebhookError> {
        let webhook = self.find(caller, id)?;
        place(&webhook).await;
        Ok(webhook.to_json())
    }

    /// Changes a webhook.
    pub async fn change(
        &self,
        caller: &Caller,
        id: &str,
        change: Change,
    ) -> Result<JsonObject, WebhookError> {
        let shared = &self.shared;
        let webhook = self.find(caller, id)?;
        if change.url.is_some() || change.wanted.is_some() {
            of_service(&webhook)?;
        }
        let mut of = webhook.state().of.clone();
        if let Some(url) = &change.url {
            of.endpoint = self.endpoint(url)?;
            of.destination = shared.destinations.get(&of.endpoint.origin());
            if !caller.principal().grants.is_admin() {
                let secret = of.secrets[0].0.clone();
                verification::verify(shared, &webhook, &of.endpoint, &secret).await?;
            }
        }
        let wanted = change.wanted.map(|wanted| self.wanted(caller, wanted));
        let wanted = wanted.transpose()?;
        let was = webhook.condition();
        let begins_again = change.is_paused == Some(false) || change.url.is_some();
        let is_elsewhere = change.url.is_some() || wanted.is_some();
        let endpoint = change
            .url
            .is_some()
            .then_some((of.endpoint, of.destination));
        self.store(&webhook, move |of| {
            if let Some((endpoint, destination)) = endpoint {
                (of.endpoint, of.destination) = (endpoint, destination);
            }
            if let Some(wanted) = wanted {
                of.wanted = wanted;
            }
            if let Some(description) = change.description {
                of.description = Some(description).filter(|it| !it.is_empty());
            }
            of.is_paused = change.is_paused.unwrap_or(of.is_paused);
        })
        .await?;
        if begins_again {
            begin_again(&webhook);
        }
        // What is under way is sent again then, so not without need.
        if is_elsewhere || webhook.condition() != was {
            webhook.tell(Command::Again);
        }
        caller.note_often("webhook.changed", &[("id", &webhook.id)]);
        Ok(webhook.to_json())
    }

    /// Signs with another secret from now on: that, and until when the one before is
    /// used beside it.
    pub async fn rotate(
        &self,
        caller: &Caller,
        id: &str,
        secret: Option<Secret>,
    ) -> Result<(String, Timestamp), WebhookError> {
        let webhook = self.find(caller, id)?;
        of_service(&webhook)?;
        let secret = secret.unwrap_or_else(Secret::generate);
        let until = now().after(self.shared.config.rotation_grace);
        let new = secret.clone();
        self.store(&webhook, move |of| of.rotate(new, until, now()))
            .await?;
        caller.note_often("webhook.secret_rotated", &[("id", &webhook.id)]);
        Ok((secret.reveal(), until))
    }

    /// Deletes a webhook.
    pub async fn delete(&self, caller: &Caller, id: &str) -> Result<(), WebhookError> {
        let webhook = self.find(caller, id)?;
        self.remove(&webhook).await?;
        caller.note_often("webhook.deleted", &[("id", &webhook.id)]);
        Ok(())
    }

    /// The newest attempts since the server was started, the newest first.
    pub fn attempts(&self, caller: &Caller, id: &str) -> Result<Vec<Attempt>, WebhookError> {
        let webhook = self.find(caller, id)?;
        let state = webhook.state();
        Ok(state.attempts.iter().rev().cloned().collect())
    }

    /// What was given up, the oldest first.
    pub fn dead_letters(&self, caller: &Caller, id: &str) -> Result<Vec<DeadLetter>, WebhookError> {
        let webhook = self.find(caller, id)?;
        let state = webhook.state();
        Ok(state.letters.iter().cloned().collect())
    }

    /// Sends what was given up once more, all of it or these: how many, and those that
    /// are not in the log any more. What is taken is a dead letter no longer.
    pub async fn redeliver(
        &self,
        caller: &Caller,
        id: &str,
        events: Option<Vec<EventId>>,
    ) -> Result<(usize, Vec<EventId>), WebhookError> {
        let webhook = self.find(caller, id)?;
        let letters: Vec<_> = {
            let state = webhook.state();
            state.letters.iter().map(|it| it.event.clone()).collect()
        };
        let events = match events {
            None => letters,
            Some(events) => {
                let unknown = events.iter().enumerate();
                let unknown = unknown.filter(|(_, event)| !letters.contains(event));
                Invalid::collect(unknown.map(|(index, _)| {
                    Invalid::field(format!("event_ids[{index}]"), "the id of a dead letter")
                }))?;
                events
            }
        };
        match webhook.condition() {
            Condition::Active => {}
            condition => return Err(WebhookError::NotActive(condition)),
        }
        let reader = self.shared.hub.caller(webhook.owner.clone(), None);
        let (mut frames, mut gone) = (Vec::new(), Vec::new());
        for event in events {
            match reader.event(event.clone()).await? {
                Some(frame) => frames.push(frame),
                None => gone.push(event),
            }
        }
        let count = frames.len();
        webhook.tell(Command::Redeliver(frames));
        caller.note_often("webhook.redelivered", &[("id", &webhook.id)]);
        Ok((count, gone))
    }

    /// Sends a message that is no event, once.
    pub async fn test(&self, caller: &Caller, id: &str) -> Result<Attempt, WebhookError> {
        let webhook = self.find(caller, id)?;
        let id = format!("msg_test_{}", Uuid::new_v4().simple());
        sender::attempt(&self.shared, &webhook, None, &Item::Test, &id, 1).await;
        let state = webhook.state();
        let attempts = state.attempts.iter();
        let attempt = attempts.rev().find(|attempt| attempt.id == id);
        Ok(attempt.expect("it was just made").clone())
    }

    /// Subscribes an MCP client to an event type, or refreshes its subscription: it
    /// is known by who subscribes, where to, and what for.
    pub async fn subscribe(
        &self,
        caller: &Caller,
        of: NewSubscription,
    ) -> Result<Granted, WebhookError> {
        caller.need(Grant::Webhooks)?;
        let shared = &self.shared;
        let endpoint = self.endpoint(&of.url)?;
        let wanted = NewWanted::EventType(of.name.clone(), of.arguments);
        let wanted = self.wanted(caller, wanted)?;
        let id = subscription_id(caller.principal(), &endpoint, &wanted);
        let expires_at = self.grant(caller, of.life);
        let definition = Definition {
            destination: shared.destinations.get(&endpoint.origin()),
            endpoint: endpoint.clone(),
            secrets: vec![(of.secret.clone(), None)],
            wanted,
            description: None,
            is_paused: false,
            expires_at,
        };
        let new = prepare(caller, id.clone(), true, definition, of.beginning.cursor);
        verification::verify(shared, &new.0, &endpoint, &of.secret).await?;
        let there = shared.get(&id).filter(|it| !it.state().is_over);
        let Some(webhook) = there else {
            let webhook = self.add(new).await?;
            caller.note_often("webhook.subscribed", &[("id", &webhook.id)]);
            return Ok(Granted {
                id,
                refresh_before: expires_at,
                cursor: of.beginning.cursor,
                truncated: of.beginning.truncated,
                status: None,
            });
        };
        let until = now().after(shared.config.rotation_grace);
        self.store(&webhook, move |it| {
            it.rotate(of.secret, until, now());
            it.expires_at = expires_at;
        })
        .await?;
        // As it was until now.
        let status = DeliveryStatus::of(&webhook);
        if !status.is_active {
            begin_again(&webhook);
            webhook.tell(Command::Again);
        }
        place(&webhook).await;
        let cursor = webhook.state().watermark;
        Ok(Granted {
            id,
            refresh_before: expires_at,
            cursor,
            truncated: false,
            status: Some(status),
        })
    }

    /// Ends the subscription of an MCP client. False if there is none.
    pub async fn unsubscribe(
        &self,
        caller: &Caller,
        url: &str,
        name: &EventName,
        arguments: JsonObject,
    ) -> Result<bool, WebhookError> {
        caller.need(Grant::Webhooks)?;
        let endpoint = self.endpoint(url)?;
        let wanted = Wanted::EventType {
            name: name.clone(),
            arguments,
            revision: 0,
        };
        let id = subscription_id(caller.principal(), &endpoint, &wanted);
        let Some(webhook) = self.shared.get(&id) else {
            return Ok(false);
        };
        self.remove(&webhook).await?;
        caller.note_often("webhook.unsubscribed", &[("id", &webhook.id)]);
        Ok(true)
    }

    fn endpoint(&self, url: &str) -> Result<Endpoint, WebhookError> {
        let endpoint = Endpoint::parse(url, &self.shared.config.guard);
        Ok(endpoint.map_err(|invalid| {
            Invalid::collect([invalid.within("url")]).expect_err("it was refused")
        })?)
    }

    /// What is wanted, if it makes sense and may be read.
    fn wanted(&self, caller: &Caller, wanted: NewWanted) -> Result<Wanted, WebhookError> {
        match wanted {
            NewWanted::Filter(filter) => {
                filter.check_size()?;
                caller.readable(filter.clone())?;
                Ok(Wanted::Filter(filter.normalized()))
            }
            NewWanted::EventType(name, arguments) => {
                let declared = self.shared.hub.event_type(&name);
                let unknown = || Invalid::field("event_type", "that of a declared event type");
                let declared = declared.ok_or_else(unknown)?;
                if !declared.declaration.delivery.contains(&Delivery::Webhook) {
                    let expected = "an event type that is delivered by webhook";
                    return Err(Invalid::field("event_type", expected).into());
                }
                let selector = declared.declaration.selector(arguments);
                let selector = selector.map_err(|invalid| {
                    Invalid::collect([invalid.within("arguments")]).expect_err("it was refused")
                })?;
                caller.readable(declared.filter())?;
                Ok(Wanted::EventType {
                    name,
                    arguments: selector.arguments(),
                    revision: declared.revision,
                })
            }
        }
    }

    /// Until when a subscription is granted. One of a token, which is not asked
    /// again, does not go on for ever.
    fn grant(&self, caller: &Caller, life: Life) -> Option<Timestamp> {
        use notification_access::Credential;
        let (least, most) = self.shared.config.subscription_life;
        let lasting = caller.principal().credential.lasting();
        let granted = match life {
            Life::Endless if lasting != Credential::Earlier => return None,
            Life::Endless | Life::Unsaid => most,
            Life::For(wanted) => wanted.clamp(least, most),
        };
        Some(now().after(granted))
    }

    /// Stores a new one and begins to send. Goes on to its end whoever waits for it.
    async fn add(&self, (webhook, commands): Prepared) -> Result<Arc<Webhook>, WebhookError> {
        let webhooks = self.clone();
        to_the_end(async move {
            let shared = &webhooks.shared;
            let _storing = shared.storing.lock().await;
            webhooks.has_room(&webhook)?;
            let records = {
                let state = webhook.state();
                let secret = shared.hub.access().secret();
                let own = record::webhook(&webhook, &state.of, secret);
                vec![own, record::place(&webhook.id, &state)]
            };
            shared.hub.store(records, Vec::new()).await?;
            Ok(webhooks.run(webhook, commands))
        })
        .await
    }

    fn has_room(&self, webhook: &Webhook) -> Result<(), WebhookError> {
        let max = self.shared.config.max;
        let known = self.shared.known();
        if known.contains_key(&webhook.id) {
            return Ok(());
        }
        if known.len() >= max {
            let of = "all together";
            return Err(WebhookError::TooMany { of, max });
        }
        let own = known
            .values()
            .filter(|it| it.owner.name == webhook.owner.name);
        let max = max / 10;
        if !webhook.owner.is_local() && own.count() >= max {
            let of = "this principal";
            return Err(WebhookError::TooMany { of, max });
        }
        Ok(())
    }

    /// Stores what of a definition is otherwise, and then has it be so.
    async fn store(
        &self,
        webhook: &Arc<Webhook>,
        change: impl FnOnce(&mut Definition) + Send + 'static,
    ) -> Result<(), WebhookError> {
        let (webhooks, webhook) = (self.clone(), webhook.clone());
        to_the_end(async move {
            let shared = &webhooks.shared;
            let _storing = shared.storing.lock().await;
            if webhook.state().is_over {
                return Err(WebhookError::Unknown(webhook.id.clone()));
            }
            let mut of = webhook.state().of.clone();
            change(&mut of);
            let record = record::webhook(&webhook, &of, shared.hub.access().secret());
            shared.hub.store(vec![record], Vec::new()).await?;
            webhook.state().of = of;
            webhook.renewed.notify_one();
            Ok(())
        })
        .await
    }

    async fn remove(&self, webhook: &Arc<Webhook>) -> Result<(), WebhookError> {
        let (webhooks, webhook) = (self.clone(), webhook.clone());
        to_the_end(async move {
            let shared = &webhooks.shared;
            let _storing = shared.storing.lock().await;
            shared.hub.store(Vec::new(), record::all(&webhook)).await?;
            webhook.state().is_over = true;
            shared.forget(&webhook);
            // Its worker finds nobody who could tell it anything more.
            webhook.tell(Command::Stop);
            Ok(())
        })
        .await
    }

    fn find(&self, caller: &Caller, id: &str) -> Result<Arc<Webhook>, WebhookError> {
        caller.need(Grant::Webhooks)?;
        let webhook = self.shared.get(id).filter(|it| is_seen_by(it, caller));
        webhook.ok_or_else(|| WebhookError::Unknown(shorten(id)))
    }
}

impl DeliveryStatus {
    fn of(webhook: &Webhook) -> Self {
        let state = webhook.state();
        let health = &state.health;
        Self {
            is_active: state.condition() == Condition::Active,
            last_delivery_at: health.last_delivery_at,
            last_error: health.last_error,
            failed_since: health.failed_since,
            throttled_until: health.throttled_until.filter(|until| now() < *until),
        }
    }
}

/// One of a caller that is not known yet, with what its worker is told by.
type Prepared = (Arc<Webhook>, mpsc::UnboundedReceiver<Command>);

fn prepare(
    caller: &Caller,
    id: String,
    is_subscription: bool,
    of: Definition,
    start: Cursor,
) -> Prepared {
    let owner = caller.principal();
    let owner = Principal {
        credential: owner.credential.lasting(),
        expires_at: None,
        // In which it is, is for a newer credential to say.
        groups: None,
        ..owner.clone()
    };
    let state = State::new(of, start);
    Webhook::new(id, Arc::new(owner), now(), is_subscription, state)
}

/// That nobody else has to know how it is: where a subscription goes, and what for,
/// is what its client knows it by.
fn of_service(webhook: &Webhook) -> Result<(), WebhookError> {
    match webhook.is_subscription {
        true => Err(WebhookError::OfClient(webhook.id.clone())),
        false => Ok(()),
    }
}

/// Whoever has it, and administrators.
fn is_seen_by(webhook: &Webhook, caller: &Caller) -> bool {
    let principal = caller.principal();
    principal.grants.has(&Grant::Admin) || principal.name == webhook.owner.name
}

/// What failed before does not count any more.
fn begin_again(webhook: &Webhook) {
    let mut state = webhook.state();
    if state.health.suspended_at.is_some() {
        state.unsaved.place = true;
    }
    state.health.begin_again();
}

/// Has its place be where it is now.
async fn place(webhook: &Webhook) {
    if webhook.condition() != Condition::Active {
        return;
    }
    let (done, is_done) = oneshot::channel();
    webhook.tell(Command::Place(done));
    let _ = tokio::time::timeout(PLACE, is_done).await;
}

/// The id of a subscription: always the same for who subscribes, where to, and what
/// for (SEP-3415, "Subscription identity").
fn subscription_id(of: &Principal, endpoint: &Endpoint, wanted: &Wanted) -> String {
    let Wanted::EventType {
        name, arguments, ..
    } = wanted
    else {
        unreachable!("subscriptions are to event types");
    };
    let key = json!([&*of.name, endpoint.as_str(), name, sorted(arguments)]).to_string();
    let hash = digest(&SHA256, key.as_bytes());
    let hash = hash.as_ref()[..16].iter();
    let hex: String = hash.map(|byte| format!("{byte:02x}")).collect();
    format!("sub_{hex}")
}

/// The same arguments in one order.
fn sorted(arguments: &JsonObject) -> Value {
    fn sort(value: &Value) -> Value {
        match value {
            Value::Object(object) => sorted(object),
            Value::Array(values) => values.iter().map(sort).collect(),
            value => value.clone(),
        }
    }
    let mut fields: Vec<_> = arguments.iter().collect();
    fields.sort_by_key(|(name, _)| *name);
    let fields = fields.into_iter();
    fields
        .map(|(name, value)| (name.clone(), sort(value)))
        .collect()
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Stores again and again what has changed.
async fn keep(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(SAVE).await;
        shared.save().await;
        shared.measure();
    }
}

/// Ends the webhooks whose event type is not what they rely on, as it changes.
async fn look(shared: Arc<Shared>) {
    let mut changes = shared.hub.event_types_changed();
    while changes.changed().await.is_ok() {
        for webhook in shared.all() {
            let wanted = webhook.state().of.wanted.clone();
            if let Err(ending) = sender::declared(&shared, &wanted) {
                webhook.tell(Command::End(Some(ending)));
            }
        }
    }
}

/// Does it to the end, whether whoever asks waits for that or hangs up.
async fn to_the_end<T: Send + 'static>(deed: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(deed).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
