use std::sync::Weak;
use std::time::SystemTime;

use notification_event::Timestamp;
use notification_hub::{Explains, Fate, Frame, Recipient, RecipientKind};

use crate::Condition;
use crate::sender::declared;
use crate::shared::Shared;
use crate::webhook::{Wanted, Webhook};

/// Knows what became of events for webhooks, as long as there are some.
#[derive(Debug)]
pub(crate) struct Explainer(pub(crate) Weak<Shared>);

impl Explains for Explainer {
    fn explain(&self, event: &Frame) -> Vec<Recipient> {
        let Some(shared) = self.0.upgrade() else {
            return Vec::new();
        };
        let all = shared.all();
        all.iter().map(|it| explain(&shared, it, event)).collect()
    }
}

fn explain(shared: &Shared, webhook: &Webhook, event: &Frame) -> Recipient {
    let fate = fate(shared, webhook, event);
    let state = webhook.state();
    let taken = state.attempts.iter().rev();
    let mut taken = taken.filter(|it| it.outcome.is_delivered());
    let taken = taken.find(|attempt| attempt.id == event.head.id.as_str());
    Recipient {
        kind: RecipientKind::Webhook,
        id: webhook.id.clone(),
        client: webhook.owner.client.clone(),
        transport: "webhook",
        fate,
        delivered_at: taken.map(|attempt| attempt.at),
        acknowledged_at: None,
    }
}

fn fate(shared: &Shared, webhook: &Webhook, event: &Frame) -> Fate {
    let wanted = webhook.state().of.wanted.clone();
    if !wants(shared, &wanted, event) {
        return Fate::NotDelivered("filter");
    }
    if webhook.owner.grants.read(&event.head.topic).is_err() {
        return Fate::NotDelivered("no_permission");
    }
    let owner = webhook.owner.client.as_ref();
    if !shared.hub.is_for(event, owner) {
        return Fate::NotDelivered("audience");
    }
    let state = webhook.state();
    let id = event.head.id.as_str();
    let letter = state.letters.iter().find(|it| it.event.as_str() == id);
    if let Some(letter) = letter {
        return Fate::GivenUp(letter.outcome.as_str());
    }
    let mut attempts = state.attempts.iter().filter(|it| it.id == id);
    if attempts.clone().any(|it| it.outcome.is_delivered()) {
        return Fate::Delivered;
    }
    if state.began.epoch == state.watermark.epoch && event.position <= state.began.position {
        return Fate::NotDelivered("came_later");
    }
    let is_settled =
        state.watermark.position >= event.position || state.settled.contains(&event.position);
    let now = Timestamp::from(SystemTime::now());
    match state.condition() {
        // It may have been passed over: nobody remembers what of it was taken before
        // the newest attempts.
        _ if is_settled && event.head.is_expired(now) => Fate::Unknown,
        _ if is_settled && event.head.collapse.is_some() => Fate::Unknown,
        _ if is_settled => Fate::Delivered,
        _ if event.head.is_expired(now) => Fate::NotDelivered("expired"),
        Condition::Paused => Fate::Pending("paused"),
        Condition::Suspended => Fate::Pending("suspended"),
        Condition::Active if attempts.next().is_some() => Fate::Pending("retrying"),
        Condition::Active => Fate::Pending("behind"),
    }
}

fn wants(shared: &Shared, wanted: &Wanted, event: &Frame) -> bool {
    let Wanted::EventType { arguments, .. } = wanted else {
        return matches!(wanted, Wanted::Filter(filter) if filter.matches(&event.head));
    };
    let Ok(Some(declared)) = declared(shared, wanted) else {
        return false;
    };
    let chosen = declared.declaration.selector(arguments.clone());
    declared.filter().matches(&event.head)
        && declared.occurrence(event).is_some_and(|occurrence| {
            chosen.is_ok_and(|selector| selector.selects(&occurrence.data))
        })
}
