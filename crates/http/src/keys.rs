use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use notification_access::{Grants, NewKey};
use notification_event::Invalid;
use notification_event::schema::{and, described, object, reference};
use notification_hub::Caller;
use serde_json::{Value, json};

use crate::body::read_json;
use crate::http::Http;
use crate::json::json as answer;
use crate::media_type::only_json;
use crate::operation::Operation;
use crate::problem::Problem;
use crate::query::NoQuery;

/// `GET /v1/keys`: every key, the newest first.
pub(crate) async fn list(caller: Caller, _: NoQuery) -> Result<Response, Problem> {
    let keys: Vec<_> = caller.keys()?.iter().map(|key| key.to_json()).collect();
    Ok(answer(&json!({"keys": keys})))
}

pub(crate) fn describe_list() -> Operation {
    let keys = json!({"type": "array", "items": reference("Key")});
    Operation::new("listKeys", "The keys, the revoked ones among them")
        .says("Without what makes them keys, which is not kept.")
        .answers(
            StatusCode::OK,
            "The newest first",
            object(json!({"keys": keys}), &["keys"]),
        )
}

/// `POST /v1/keys`: creates a key, and shows it this once.
pub(crate) async fn create(
    State(http): State<Http>,
    caller: Caller,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    only_json(&headers)?;
    let wanted = NewKey::parse(read_json(body, http.config.body_timeout).await?)
        .map_err(Problem::unprocessable)?;
    let (key, text) = caller.create_key(wanted).await?;
    let mut shown = key.to_json();
    shown.insert("key".to_owned(), text.into());
    Ok((StatusCode::CREATED, answer(&shown)).into_response())
}

pub(crate) fn describe_create() -> Operation {
    let text = json!({"key": {"description": "The key itself, shown this once", "type": "string"}});
    let created = object(and(properties(), text), &[&REQUIRED[..], &["key"]].concat());
    let mut body = object(wanted(), &["name", "allow"]);
    body["dependentRequired"] = json!({"groups": ["client_id"]});
    Operation::new("createKey", "Creates a key")
        .body("application/json", body)
        .answers(StatusCode::CREATED, "The key, shown this once", created)
        .refuses(&[409, 415, 422, 503])
}

/// `DELETE /v1/keys/{id}`: revokes a key, and ends the streams that were opened with it.
pub(crate) async fn revoke(
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    _: NoQuery,
) -> Result<StatusCode, Problem> {
    let Path(id) = id.map_err(|_| Problem::unprocessable(Invalid::field("id", "UTF-8 text")))?;
    match caller.revoke_key(&id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::not_found(
            "there is no such key, or it is revoked already",
        )),
    }
}

pub(crate) fn describe_revoke() -> Operation {
    Operation::new("revokeKey", "Revokes a key")
        .says("Streams that were opened with it are told, and end.")
        .path("id", json!({"type": "string", "minLength": 1}))
        .answers_nothing("It is good for nothing any more")
        .refuses(&[404, 422, 503])
}

const REQUIRED: [&str; 5] = ["id", "name", "allow", "created_at", "created_by"];

pub(crate) fn schema() -> Value {
    object(properties(), &REQUIRED)
}

fn wanted() -> Value {
    json!({
        "name": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        "allow": {
            "description": "Grants, such as publish:ops/**",
            "type": "array", "items": {"type": "string"}, "maxItems": Grants::MAX,
        },
        "client_id": reference("ClientId"),
        "groups": described(
            json!({"type": "array", "items": reference("GroupName"), "maxItems": 100}),
            "The groups that this client is in, and no others; with client_id",
        ),
        "events_per_hour": {
            "description": "How many events may be published with it in an hour",
            "type": "integer", "minimum": 1, "maximum": u32::MAX,
        },
        "expires_at": reference("Timestamp"),
    })
}

fn properties() -> Value {
    let own = json!({
        "id": {"description": "Names the key where it must not be said", "type": "string"},
        "created_at": reference("Timestamp"),
        "created_by": {"description": "The principal that did it", "type": "string"},
        "revoked_at": reference("Timestamp"),
        "last_used_at": described(reference("Timestamp"), "To the minute"),
    });
    and(wanted(), own)
}
