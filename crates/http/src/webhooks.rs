use std::str::FromStr;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use notification_event::schema::{and, described, object, reference};
use notification_event::{Fields, Filter, Invalid, JsonObject, ParseError, Timestamp};
use notification_hub::{Caller, Start};
use notification_webhook::{Change, Condition, NewWanted, NewWebhook, Outcome, Secret};
use serde_json::{Value, json};

use crate::body::read_json;
use crate::http::Http;
use crate::json::json as answer;
use crate::media_type::only_json;
use crate::operation::Operation;
use crate::path::PathNames;
use crate::problem::Problem;
use crate::query::{NoQuery, start_schema};

/// The longest that a description may be, in characters.
const MAX_DESCRIPTION: usize = 256;

/// The name of a webhook in a path.
#[derive(Debug)]
pub(crate) struct WebhookId(pub(crate) String);

impl FromStr for WebhookId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let is_id = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
        match (1..=64).contains(&text.len()) && text.bytes().all(is_id) {
            true => Ok(Self(text.to_owned())),
            false => Err(ParseError {
                what: "id of a webhook",
                expected: "1 to 64 of the characters A-Z a-z 0-9 _ -",
            }),
        }
    }
}

impl WebhookId {
    fn schema() -> Value {
        json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"})
    }

    /// Adds it to the path of an operation.
    pub(crate) fn within(operation: Operation) -> Operation {
        operation.path("webhook_id", Self::schema())
    }
}

/// `GET /v1/webhooks`: those of whoever asks, or all for administrators.
pub(crate) async fn list(
    State(http): State<Http>,
    caller: Caller,
    _: NoQuery,
) -> Result<Response, Problem> {
    let webhooks = http.config.webhooks.list(&caller)?;
    Ok(answer(&json!({"webhooks": webhooks})))
}

pub(crate) fn describe_list() -> Operation {
    let all = json!({"type": "array", "items": reference("Webhook")});
    Operation::new("listWebhooks", "The webhooks")
        .says("One's own, subscriptions of MCP clients among them; administrators see all.")
        .answers(
            StatusCode::OK,
            "The oldest first",
            object(json!({"webhooks": all}), &["webhooks"]),
        )
}

/// `POST /v1/webhooks`: has events be posted to an address.
pub(crate) async fn create(
    State(http): State<Http>,
    caller: Caller,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    only_json(&headers)?;
    let body = read_json(body, http.config.body_timeout).await?;
    let wanted = parse_new(body).map_err(Problem::unprocessable)?;
    let (mut webhook, secret) = http.config.webhooks.create(&caller, wanted).await?;
    webhook.insert("secret".to_owned(), secret.into());
    Ok((StatusCode::CREATED, answer(&webhook)).into_response())
}

fn parse_new(body: Value) -> Result<NewWebhook, Invalid> {
    let mut fields = Fields::new(object_of(body)?);
    let url = fields.required("url", text);
    let wanted = wanted(&mut fields);
    let secret = fields.optional("secret", Fields::parsed::<Secret>);
    let description = fields.optional("description", short);
    let start = fields.optional("since", start);
    let expires_at = fields.optional("expires_at", Fields::parsed::<Timestamp>);
    if expires_at.is_some_and(|end| end <= Http::now()) {
        fields.refuse(Invalid::field("expires_at", "a time after now"));
    }
    fields.finish()?;
    Ok(NewWebhook {
        url: url.unwrap_or_default(),
        wanted: wanted.unwrap_or(NewWanted::Filter(Filter::default())),
        start: start.unwrap_or_default(),
        secret,
        description,
        expires_at,
    })
}

/// Reads `event_type` and `arguments`, or the parts of a filter; none if there is
/// neither.
fn wanted(fields: &mut Fields) -> Option<NewWanted> {
    let name = fields.optional("event_type", Fields::parsed);
    let arguments = fields.optional("arguments", object_of);
    let filter = Filter::read(fields);
    let has_filter = filter != Filter::default();
    match (name, arguments) {
        (Some(_), _) if has_filter => {
            let expected = "either event_type, or topics, types, names, min_priority and tags";
            fields.refuse(Invalid::field("event_type", expected));
            None
        }
        (Some(name), arguments) => Some(NewWanted::EventType(name, arguments.unwrap_or_default())),
        (None, Some(_)) => {
            fields.refuse(Invalid::field("arguments", "an event_type with them"));
            None
        }
        (None, None) => has_filter.then_some(NewWanted::Filter(filter)),
    }
}

pub(crate) fn describe_create() -> Operation {
    let mut body = object(and(definition(), and(beginning(), secret())), &["url"]);
    body["dependentRequired"] = json!({"arguments": ["event_type"]});
    let secret = described(secret()["secret"].clone(), "Shown this once");
    let created = and(properties(), json!({"secret": secret}));
    let required = [&REQUIRED[..], &["secret"]].concat();
    Operation::new("createWebhook", "Has events be posted to an address")
        .says(
            "With topics and the like, the body of each delivery is the event as it is on streams; \
             with an event_type, it is an occurrence of that. Deliveries are signed as Standard \
             Webhooks has it. Who is no administrator has to verify the endpoint: it is posted \
             {\"type\": \"verification\", \"challenge\": …} and answers {\"challenge\": …}.",
        )
        .body("application/json", body)
        .answers(
            StatusCode::CREATED,
            "The webhook, with its secret",
            object(created, &required),
        )
        .refuses(&[415, 422, 503])
}

/// `GET /v1/webhooks/{webhook_id}`: one of them.
pub(crate) async fn one(
    State(http): State<Http>,
    caller: Caller,
    path: PathNames,
    _: NoQuery,
) -> Result<Response, Problem> {
    let WebhookId(id) = path.one("webhook_id")?;
    Ok(answer(&http.config.webhooks.get(&caller, &id).await?))
}

pub(crate) fn describe_one() -> Operation {
    WebhookId::within(Operation::new("getWebhook", "A webhook"))
        .answers(StatusCode::OK, "It", reference("Webhook"))
        .refuses(&[404, 422])
}

/// `PATCH /v1/webhooks/{webhook_id}`: changes what is named.
pub(crate) async fn change(
    State(http): State<Http>,
    caller: Caller,
    path: PathNames,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let WebhookId(id) = path.one("webhook_id")?;
    only_json(&headers)?;
    let body = read_json(body, http.config.body_timeout).await?;
    let change = parse_change(body).map_err(Problem::unprocessable)?;
    let webhook = http.config.webhooks.change(&caller, &id, change).await?;
    Ok(answer(&webhook))
}

fn parse_change(body: Value) -> Result<Change, Invalid> {
    let mut fields = Fields::new(object_of(body)?);
    let change = Change {
        url: fields.optional("url", text),
        wanted: wanted(&mut fields),
        description: fields.optional("description", short),
        is_paused: fields.optional("paused", |value| {
            value
                .as_bool()
                .ok_or_else(|| Invalid::value("true or false"))
        }),
    };
    fields.finish()?;
    Ok(change)
}

pub(crate) fn describe_change() -> Operation {
    let paused = described(
        json!({"type": "boolean"}),
        "Whether nothing is sent; false has one that is suspended begin again",
    );
    let mut body = object(and(definition(), json!({"paused": paused})), &[]);
    body["dependentRequired"] = json!({"arguments": ["event_type"]});
    let operation = Operation::new("changeWebhook", "Changes a webhook")
        .says("What is not named stays. It goes on from where it is in the log.");
    WebhookId::within(operation)
        .body("application/json", body)
        .answers(StatusCode::OK, "As it is now", reference("Webhook"))
        .refuses(&[404, 409, 415, 422, 503])
}

/// `DELETE /v1/webhooks/{webhook_id}`: nothing more is posted.
pub(crate) async fn delete(
    State(http): State<Http>,
    caller: Caller,
    path: PathNames,
    _: NoQuery,
) -> Result<StatusCode, Problem> {
    let WebhookId(id) = path.one("webhook_id")?;
    http.config.webhooks.delete(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) fn describe_delete() -> Operation {
    WebhookId::within(Operation::new("deleteWebhook", "Deletes a webhook"))
        .says("Its dead letters go with it.")
        .answers_nothing("Nothing more is posted")
        .refuses(&[404, 422, 503])
}

/// `POST /v1/webhooks/{webhook_id}/rotate-secret`: signs with another secret.
pub(crate) async fn rotate(
    State(http): State<Http>,
    caller: Caller,
    path: PathNames,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let WebhookId(id) = path.one("webhook_id")?;
    only_json(&headers)?;
    let body = read_json(body, http.config.body_timeout).await?;
    let secret = parse_secret(body).map_err(Problem::unprocessable)?;
    let (secret, until) = http.config.webhooks.rotate(&caller, &id, secret).await?;
    Ok(answer(&json!({"secret": secret, "previous_until": until})))
}

fn parse_secret(body: Value) -> Result<Option<Secret>, Invalid> {
    let mut fields = Fields::new(object_of(body)?);
    let secret = fields.optional("secret", Fields::parsed::<Secret>);
    fields.finish()?;
    Ok(secret)
}

pub(crate) fn describe_rotate() -> Operation {
    let until = described(
        reference("Timestamp"),
        "Until then deliveries are signed with the secret before, too",
    );
    let rotated = and(secret(), json!({"previous_until": until}));
    let operation = Operation::new("rotateWebhookSecret", "Signs with another secret");
    WebhookId::within(operation)
        .says("A new one is made if none is given.")
        .body("application/json", object(secret(), &[]))
        .answers(
            StatusCode::OK,
            "The secret, shown this once",
            object(rotated, &["secret", "previous_until"]),
        )
        .refuses(&[404, 409, 415, 422, 503])
}

/// `POST /v1/webhooks/{webhook_id}/test`: posts a message that is no event, once.
pub(crate) async fn test(
    State(http): State<Http>,
    caller: Caller,
    path: PathNames,
    _: NoQuery,
) -> Result<Response, Problem> {
    let WebhookId(id) = path.one("webhook_id")?;
    let attempt = http.config.webhooks.test(&caller, &id).await?;
    Ok(answer(&attempt.to_json()))
}

pub(crate) fn describe_test() -> Operation {
    WebhookId::within(Operation::new("testWebhook", "Posts a test message"))
        .says("Once, whether the webhook is paused or not: {\"type\": \"test\", …}, signed.")
        .answers(
            StatusCode::OK,
            "What became of it",
            reference("WebhookAttempt"),
        )
        .refuses(&[404, 422])
}

/// `GET /v1/webhooks/public-key`: what verifies signatures `v1a`.
pub(crate) async fn public_key(
    State(http): State<Http>,
    _: Caller,
    _: NoQuery,
) -> Result<Response, Problem> {
    let key = http.config.webhooks.public_key();
    let none = "deliveries are not signed with a key of the server; webhooks.sign_with_key is off";
    let key = key.ok_or_else(|| Problem::not_found(none))?;
    Ok(answer(&json!({"public_key": key})))
}

pub(crate) fn describe_public_key() -> Operation {
    let key = json!({"type": "string", "pattern": "^whpk_"});
    Operation::new("webhookPublicKey", "The key that verifies signatures v1a")
        .answers(
            StatusCode::OK,
            "An Ed25519 key, as Standard Webhooks writes it",
            object(json!({"public_key": key}), &["public_key"]),
        )
        .refuses(&[404])
}

fn object_of(value: Value) -> Result<JsonObject, Invalid> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(Invalid::value("an object")),
    }
}

fn text(value: Value) -> Result<String, Invalid> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(Invalid::value("a string")),
    }
}

fn short(value: Value) -> Result<String, Invalid> {
    let text = text(value)?;
    match text.chars().count() <= MAX_DESCRIPTION {
        true => Ok(text),
        false => Err(Invalid::value(format!(
            "at most {MAX_DESCRIPTION} characters"
        ))),
    }
}

fn start(value: Value) -> Result<Start, Invalid> {
    Ok(Start::parse(&text(value)?, Http::now())?)
}

const REQUIRED: [&str; 7] = [
    "id",
    "owner",
    "kind",
    "url",
    "state",
    "created_at",
    "cursor",
];

fn url() -> Value {
    described(
        json!({"type": "string", "format": "uri", "maxLength": 2048}),
        "An https address of a public place",
    )
}

fn by_event_type() -> Value {
    json!({
        "event_type": described(
            reference("EventName"),
            "A declared event type; not with topics, types, names, min_priority and tags",
        ),
        "arguments": described(
            json!({"type": "object"}),
            "What chooses among its events, by its input_schema",
        ),
    })
}

fn description() -> Value {
    json!({"description": {"type": "string", "maxLength": MAX_DESCRIPTION}})
}

fn definition() -> Value {
    let filter = Filter::schema()["properties"].clone();
    let url = json!({"url": url()});
    and(url, and(by_event_type(), and(filter, description())))
}

fn beginning() -> Value {
    json!({
        "since": described(start_schema(), "From where on; absent is from now"),
        "expires_at": described(reference("Timestamp"), "When it ends by itself"),
    })
}

/// What is padded has no bits left over, as encoders write it.
const SECRET: &str = "^whsec_(([A-Za-z0-9+/]{4}){8,21}([A-Za-z0-9+/][AQgw]==)?\
                      |([A-Za-z0-9+/]{4}){8,20}[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)$";

fn secret() -> Value {
    json!({"secret": described(
        json!({"type": "string", "pattern": SECRET}),
        "whsec_ and 24 to 64 bytes in base64",
    )})
}

/// What `Webhook` is.
pub(crate) fn schema() -> Value {
    object(properties(), &REQUIRED)
}

fn properties() -> Value {
    let time = |meaning| described(reference("Timestamp"), meaning);
    let own = json!({
        "id": WebhookId::schema(),
        "owner": described(json!({"type": "string"}), "The principal in whose name it reads"),
        "kind": described(
            json!({"type": "string", "enum": ["service", "mcp"]}),
            "mcp is a subscription of an MCP client",
        ),
        "url": url(),
        "filter": reference("Filter"),
        "state": {"type": "string", "enum": Condition::ALL.map(Condition::as_str)},
        "created_at": time("When it was created"),
        "cursor": described(
            reference("Cursor"),
            "Everything up to here was taken, or given up, or not wanted",
        ),
        "dead_letters": {"type": "integer", "minimum": 0},
        "expires_at": time("When it ends by itself"),
        "last_delivery_at": time("When something was last taken"),
        "failed_since": time("Since when nothing is taken"),
        "suspended_at": time("Since when it is left alone"),
        "throttled_until": time("Until when the endpoint wants to be left alone"),
        "last_error": {"type": "string", "enum": Outcome::ALL.map(Outcome::as_str)},
    });
    and(own, and(by_event_type(), description()))
}
