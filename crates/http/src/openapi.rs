use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use notification_event::schema::{reference, schemas};
use serde_json::{Map, Value, json};

use crate::door::Door;
use crate::operation::Operation;
use crate::problem::Problem;
use crate::router::doors;
use crate::{
    clients, connections, deliveries, event_types, keys, publish, session, stream, tasks,
    webhook_deliveries, webhooks,
};

/// `GET /openapi.json`: all the doors, as OpenAPI 3.1 describes them.
pub(crate) async fn openapi() -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document(doors()).to_string().into());
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, DOCUMENT.clone()).into_response()
}

pub(crate) fn describe() -> Operation {
    Operation::new("describe", "This document").answers(
        StatusCode::OK,
        "An OpenAPI 3.1 document",
        json!({"type": "object"}),
    )
}

fn document(doors: Vec<Door>) -> Value {
    let paths: Map<_, _> = doors.into_iter().map(Door::describe).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Notification server",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE")},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components(), "responses": refusals()},
    })
}

/// The vocabulary, and what only HTTP says.
fn components() -> Value {
    let own = [
        ("Problem", Problem::schema()),
        ("Published", publish::Answer::schema()),
        ("ConnectionId", connections::ConnectionId::schema()),
        ("Connection", connections::Connection::schema()),
        ("Client", clients::Client::schema()),
        ("Task", tasks::schema()),
        ("EventTypeDeclared", event_types::schema()),
        ("Recipient", deliveries::schema()),
        ("Webhook", webhooks::schema()),
        ("WebhookAttempt", webhook_deliveries::attempt_schema()),
        ("DeadLetter", webhook_deliveries::dead_letter_schema()),
        ("Key", keys::schema()),
        ("Principal", session::schema()),
        ("StreamItem", stream::item_schema()),
    ];
    let own = own.map(|(name, schema)| (name.to_owned(), schema));
    schemas()
        .into_iter()
        .chain(own)
        .collect::<Map<_, _>>()
        .into()
}

fn refusals() -> Value {
    let meanings = [
        (
            400,
            "A query parameter, a header or the body makes no sense",
        ),
        (401, "It is not known who asks"),
        (
            403,
            "The Host, the Origin or a proxy is not allowed, or a grant is missing",
        ),
        (404, "There is no such thing"),
        (406, "The Accept header does not allow what this is"),
        (408, "The body took too long"),
        (409, "It contradicts what was before"),
        (413, "The body is too large"),
        (415, "The body is not of a type that is taken here"),
        (
            422,
            "It can be read, but a field or a name in the path makes no sense",
        ),
        (
            429,
            "There are too many of them, or too much was asked for; limit names the bound",
        ),
    ];
    let problem = json!({"application/problem+json": {"schema": reference("Problem")}});
    let mut all: Map<_, _> = meanings
        .into_iter()
        .map(|(status, meaning)| {
            let refusal = json!({"description": meaning, "content": problem});
            (status.to_string(), refusal)
        })
        .collect();
    // Said before anybody has looked at the request.
    let too_large = json!({"description": "The head of the request is larger than 16 KiB"});
    all.insert("431".to_owned(), too_large);
    let unavailable = json!({
        "description": "The log cannot be written or read, or the server is shutting down",
        "headers": {"Retry-After": {"required": true, "schema": {"type": "integer", "minimum": 0}}},
        "content": problem,
    });
    all.insert("503".to_owned(), unavailable);
    all.into()
}
