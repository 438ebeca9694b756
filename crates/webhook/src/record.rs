//! Webhooks as they are stored: what their owner says of them, where they are in the
//! log, and what was given up. Secrets are sealed, so that a copy of the log does not
//! tell them.

use std::collections::BTreeSet;
use std::sync::Arc;

use notification_access::{Credential, Grant, Grants, Principal, ServerSecret};
use notification_event::{Cursor, Filter, JsonObject, Position, Timestamp};
use notification_hub::Record;
use serde_json::{Value, json};

use crate::destination::Destinations;
use crate::webhook::{Definition, State, Unsaved, Wanted, Webhook};
use crate::{DeadLetter, Endpoint, Guard, Secret};

/// What the records are called.
pub(crate) const WEBHOOK: &str = "webhook";
pub(crate) const PLACE: &str = "webhook_place";
pub(crate) const LETTER: &str = "webhook_dead_letter";

/// What is stored of one webhook, apart from its place.
pub(crate) struct Stored {
    pub(crate) owner: Principal,
    pub(crate) created_at: Timestamp,
    pub(crate) is_subscription: bool,
    pub(crate) of: Definition,
}

/// Where it is in the log.
pub(crate) struct Place {
    pub(crate) began: Cursor,
    pub(crate) watermark: Cursor,
    pub(crate) settled: BTreeSet<Position>,
    pub(crate) suspended_at: Option<Timestamp>,
}

/// The record of a webhook whose definition is this.
pub(crate) fn webhook(webhook: &Webhook, of: &Definition, secret: &ServerSecret) -> Record {
    let secrets = of.secrets.iter().map(|(it, until)| {
        let sealed = secret.seal(&webhook.id, it.reveal().as_bytes());
        json!({ "sealed": sealed, "until": until })
    });
    let wanted = match &of.wanted {
        Wanted::Filter(filter) => json!({ "filter": filter.to_json() }),
        Wanted::EventType {
            name,
            arguments,
            revision,
        } => json!({ "event_type": name, "arguments": arguments, "revision": revision }),
    };
    let json = json!({
        "owner": principal(&webhook.owner),
        "created_at": webhook.created_at,
        "is_subscription": webhook.is_subscription,
        "url": of.endpoint.as_str(),
        "secrets": secrets.collect::<Vec<_>>(),
        "wanted": wanted,
        "description": of.description,
        "is_paused": of.is_paused,
        "expires_at": of.expires_at,
    });
    record(WEBHOOK, webhook.id.clone(), &json)
}

/// The record of its place.
pub(crate) fn place(id: &str, state: &State) -> Record {
    let settled: Vec<_> = state.settled.iter().map(|position| position.0).collect();
    let json = json!({
        "began": state.began,
        "cursor": state.watermark,
        "settled": settled,
        "suspended_at": state.health.suspended_at,
    });
    record(PLACE, id.to_owned(), &json)
}

/// The records of what was not stored yet, and those that are not needed any more.
pub(crate) fn unsaved(
    id: &str,
    state: &State,
    unsaved: &Unsaved,
) -> (Vec<Record>, Vec<(String, String)>) {
    let letters = unsaved.letters.iter();
    let letters = letters.map(|letter| {
        let json = Value::Object(letter.to_json());
        record(LETTER, letter_id(id, letter.event.as_str()), &json)
    });
    let place = unsaved.place.then(|| place(id, state));
    let removed = unsaved.removed_letters.iter();
    let removed = removed.map(|event| (LETTER.to_owned(), letter_id(id, event.as_str())));
    (letters.chain(place).collect(), removed.collect())
}

/// Everything that is stored of it.
pub(crate) fn all(webhook: &Webhook) -> Vec<(String, String)> {
    let id = || webhook.id.clone();
    let state = webhook.state();
    let letters = state.letters.iter();
    let letters = letters.map(|it| (LETTER.to_owned(), letter_id(&webhook.id, it.event.as_str())));
    let own = [(WEBHOOK.to_owned(), id()), (PLACE.to_owned(), id())];
    own.into_iter().chain(letters).collect()
}

fn letter_id(webhook: &str, event: &str) -> String {
    format!("{webhook}/{event}")
}

fn record(kind: &str, id: String, json: &Value) -> Record {
    Record {
        kind: kind.to_owned(),
        id,
        json: json.to_string(),
    }
}

fn principal(of: &Principal) -> Value {
    let credential = match of.credential.lasting() {
        Credential::Key(id) => json!({ "key": *id }),
        Credential::Local => json!("local"),
        Credential::Token(_) | Credential::Session(..) | Credential::Earlier => json!("token"),
    };
    json!({
        "name": *of.name,
        "credential": credential,
        "allow": of.grants.iter().collect::<Vec<_>>(),
        "client_id": of.client,
    })
}

/// Reads the record of a webhook; says what is wrong with it.
pub(crate) fn read_webhook(
    of: &Record,
    secret: &ServerSecret,
    destinations: &Destinations,
) -> Result<Stored, String> {
    let json: JsonObject = serde_json::from_str(&of.json).map_err(|error| error.to_string())?;
    let missing = |name: &str| format!("{name} is not as it was written");
    let text = |name: &str| json.get(name).and_then(Value::as_str);
    // What was let in before is not held to settings of today; who is connected to is.
    let anywhere = Guard {
        allow_loopback: true,
        allow: vec![
            "0.0.0.0/0".parse().expect("a network"),
            "::/0".parse().expect("a network"),
        ],
    };
    let endpoint = text("url").and_then(|url| Endpoint::parse(url, &anywhere).ok());
    let endpoint = endpoint.ok_or_else(|| missing("url"))?;
    let secrets = json.get("secrets").and_then(Value::as_array);
    let secrets = secrets.map(|secrets| {
        let read = secrets.iter().map(|it| {
            let sealed = secret.unseal(&of.id, it["sealed"].as_str()?)?;
            let secret: Secret = String::from_utf8(sealed).ok()?.parse().ok()?;
            Some((secret, time(&it["until"])?))
        });
        read.collect::<Option<Vec<_>>>()
    });
    let secrets = secrets.flatten().filter(|secrets| !secrets.is_empty());
    let secrets = secrets.ok_or("its secret was sealed by another server")?;
    let wanted = json.get("wanted").and_then(read_wanted);
    let owner = json.get("owner").and_then(read_principal);
    let flag = |name: &str| json.get(name).and_then(Value::as_bool);
    Ok(Stored {
        owner: owner.ok_or_else(|| missing("owner"))?,
        created_at: text("created_at")
            .and_then(|time| time.parse().ok())
            .ok_or_else(|| missing("created_at"))?,
        is_subscription: flag("is_subscription").ok_or_else(|| missing("is_subscription"))?,
        of: Definition {
            destination: destinations.get(&endpoint.origin()),
            endpoint,
            secrets,
            wanted: wanted.ok_or_else(|| missing("wanted"))?,
            description: text("description").map(str::to_owned),
            is_paused: flag("is_paused").ok_or_else(|| missing("is_paused"))?,
            expires_at: time(&json["expires_at"]).ok_or_else(|| missing("expires_at"))?,
        },
    })
}

/// Reads the record of a place.
pub(crate) fn read_place(of: &Record) -> Option<Place> {
    let json: JsonObject = serde_json::from_str(&of.json).ok()?;
    let settled = json.get("settled")?.as_array()?.iter();
    let settled = settled.map(|position| position.as_u64().map(Position));
    Some(Place {
        began: json.get("began")?.as_str()?.parse().ok()?,
        watermark: json.get("cursor")?.as_str()?.parse().ok()?,
        settled: settled.collect::<Option<_>>()?,
        suspended_at: time(json.get("suspended_at")?)?,
    })
}

/// Reads the record of a dead letter: of which webhook it is, and it.
pub(crate) fn read_letter(of: &Record) -> Option<(&str, DeadLetter)> {
    let json = serde_json::from_str(&of.json).ok()?;
    let (webhook, _) = of.id.split_once('/')?;
    Some((webhook, DeadLetter::from_json(&json)?))
}

fn read_wanted(json: &Value) -> Option<Wanted> {
    let object = |name: &str| json.get(name)?.as_object().cloned();
    if let Some(filter) = object("filter") {
        return Filter::parse(filter).ok().map(Wanted::Filter);
    }
    Some(Wanted::EventType {
        name: json.get("event_type")?.as_str()?.parse().ok()?,
        arguments: object("arguments")?,
        revision: json.get("revision")?.as_u64()?,
    })
}

fn read_principal(json: &Value) -> Option<Principal> {
    let credential = match json.get("credential")? {
        Value::String(word) if word == "local" => Credential::Local,
        Value::String(word) if word == "token" => Credential::Earlier,
        key => Credential::Key(key.get("key")?.as_str()?.into()),
    };
    let allow = json.get("allow")?.as_array()?.iter();
    let allow = allow.map(|grant| grant.as_str()?.parse::<Grant>().ok());
    Some(Principal {
        name: Arc::from(json.get("name")?.as_str()?),
        credential,
        grants: Grants::new(allow.collect::<Option<Vec<_>>>()?).ok()?,
        client: match json.get("client_id")?.as_str() {
            Some(client) => Some(client.parse().ok()?),
            None => None,
        },
        groups: None,
        events_per_hour: None,
        expires_at: None,
    })
}

/// A time or none; none of both if it is something else.
fn time(json: &Value) -> Option<Option<Timestamp>> {
    match json {
        Value::Null => Some(None),
        json => json.as_str()?.parse().ok().map(Some),
    }
}
