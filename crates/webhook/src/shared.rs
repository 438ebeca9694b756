use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, RwLock};

use notification_event::{Application, Body, Draft, JsonObject, Timestamp};
use notification_hub::Hub;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::Client;
use crate::destination::Destinations;
use crate::metrics::{Metrics, ReasonLabel};
use crate::secret::SigningKey;
use crate::webhook::Webhook;
use crate::{Condition, Ending, Outcome, WebhooksConfig, record, sender};

/// What all webhooks share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    pub(crate) config: WebhooksConfig,
    pub(crate) client: Client,
    pub(crate) destinations: Destinations,
    pub(crate) key: SigningKey,
    pub(crate) metrics: Metrics,
    // A std lock, held for lookups; never across an await.
    pub(crate) known: RwLock<BTreeMap<String, Arc<Webhook>>>,
    /// Which endpoints of whom have proved themselves, and when.
    pub(crate) verified: Mutex<HashMap<(Arc<str>, String), Timestamp>>,
    /// Held while one is created, changed or removed, so that one change follows the other.
    pub(crate) storing: tokio::sync::Mutex<()>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Webhook>> {
        self.known().get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Webhook>> {
        self.known().values().cloned().collect()
    }

    pub(crate) fn known(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Webhook>>> {
        self.known.read().expect("no holder panics")
    }

    /// Stores what is not stored yet of all, in as few commits as there have to be.
    pub(crate) async fn save(&self) {
        /// How many records share a commit.
        const BATCH: usize = 1_000;
        // So that nothing of one that is removed meanwhile is stored after it.
        let _storing = self.storing.lock().await;
        let mut waiting = self.all().into_iter().peekable();
        while waiting.peek().is_some() {
            let (mut save, mut remove, mut taken) = (Vec::new(), Vec::new(), Vec::new());
            for webhook in waiting.by_ref() {
                let mut state = webhook.state();
                if state.unsaved.is_nothing() || state.is_over {
                    continue;
                }
                let unsaved = std::mem::take(&mut state.unsaved);
                // All of one moment: a place that passes a dead letter comes with it.
                let (records, removed) = record::unsaved(&webhook.id, &state, &unsaved);
                drop(state);
                save.extend(records);
                remove.extend(removed);
                taken.push((webhook, unsaved));
                if save.len() + remove.len() >= BATCH {
                    break;
                }
            }
            if taken.is_empty() {
                continue;
            }
            if let Err(error) = self.hub.store(save, remove).await {
                tracing::warn!(%error, "places of webhooks are not stored yet");
                for (webhook, unsaved) in taken {
                    webhook.state().unsaved.restore(unsaved);
                }
                return;
            }
        }
    }

    /// Ends a webhook: it is not there any more, and what is stored of it is removed.
    pub(crate) async fn end(self: &Arc<Self>, webhook: &Arc<Webhook>, ending: Option<Ending>) {
        webhook.state().is_over = true;
        let storing = self.storing.lock().await;
        // One that was subscribed to again meanwhile is another, of the same id.
        if self.knows(webhook) {
            let removed = self.hub.store(Vec::new(), record::all(webhook)).await;
            if let Err(error) = removed {
                // It is found again at the next start, and ends again.
                tracing::warn!(webhook = %webhook.id, %error, "a webhook that has ended is still stored");
            }
        }
        self.forget(webhook);
        drop(storing);
        let reason = ending.as_ref().map_or("expired", Ending::as_str);
        tracing::info!(webhook = %webhook.id, reason, "webhook ended");
        let counted = self.metrics.ended.get_or_create(&ReasonLabel { reason });
        counted.inc();
        if let Some(ending) = ending {
            sender::say_last(self, webhook, (self.config.describe_ending)(&ending));
        }
    }

    /// Whether it is the one that is known by its id.
    fn knows(&self, webhook: &Arc<Webhook>) -> bool {
        let known = self.get(&webhook.id);
        known.is_some_and(|known| Arc::ptr_eq(&known, webhook))
    }

    /// It is not known any more. One that was created anew in its place stays.
    pub(crate) fn forget(&self, webhook: &Arc<Webhook>) {
        if self.knows(webhook) {
            let mut known = self.known.write().expect("no holder panics");
            known.remove(&webhook.id);
        }
    }

    /// Says that an endpoint fails, on `$webhooks` and in the log.
    pub(crate) fn say_failing(&self, webhook: &Webhook, percent: u32, outcome: Outcome) {
        let is_suspended = percent >= 100;
        let name = match is_suspended {
            true => "webhook.suspended",
            false => "webhook.failing",
        };
        let last = outcome.as_str();
        tracing::warn!(webhook = %webhook.id, percent, last, "{name}");
        let data = json!({
            "webhook_id": webhook.id, "owner": *webhook.owner.name, "percent": percent,
            "last_outcome": last,
        });
        self.announce(name, data);
    }

    fn announce(&self, name: &str, data: Value) {
        let Value::Object(data) = data else {
            return;
        };
        self.hub.announce(announcement(name, data));
    }

    /// Counts what is there now.
    pub(crate) fn measure(&self) {
        let all = self.all();
        let suspended = all
            .iter()
            .filter(|it| it.condition() == Condition::Suspended);
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.suspended.set(count(suspended.count()));
        self.metrics.webhooks.set(count(all.len()));
    }
}

fn announcement(name: &str, data: JsonObject) -> Draft {
    let body = Body::Application(Application {
        name: name.parse().expect("an event name"),
    });
    Draft {
        topic: "$webhooks".parse().expect("a topic"),
        data: Some(data),
        ..Draft::from(body)
    }
}
