use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use notification_event::schema::{and, described, object, reference};
use notification_event::{Declaration, EventName, Invalid, ParseError};
use notification_hub::{Caller, DeclareError};
use serde_json::{Value, json};

use crate::body::read_json;
use crate::http::Http;
use crate::json::json as answer;
use crate::media_type::only_json;
use crate::operation::Operation;
use crate::path::PathNames;
use crate::problem::Problem;
use crate::query::{NoQuery, Query};

/// `GET /v1/event-types`: what is declared, in the order of the names.
pub(crate) async fn list(caller: Caller, _: NoQuery) -> Result<Response, Problem> {
    let declared = caller.event_types()?;
    let declared: Vec<_> = declared.iter().map(|it| json!(**it)).collect();
    Ok(answer(&json!({"event_types": declared})))
}

pub(crate) fn describe_list() -> Operation {
    let all = json!({"type": "array", "items": reference("EventTypeDeclared")});
    Operation::new("listEventTypes", "The event types that are declared").answers(
        StatusCode::OK,
        "In order of their names",
        object(json!({"event_types": all}), &["event_types"]),
    )
}

/// `GET /v1/event-types/{name}`: one of them.
pub(crate) async fn one(caller: Caller, path: PathNames, _: NoQuery) -> Result<Response, Problem> {
    let name: EventName = path.one("name")?;
    let declared = caller.event_types()?;
    let declared = declared.iter().find(|it| it.declaration.name == name);
    let declared = declared.ok_or_else(|| unknown(&name))?;
    Ok(answer(&**declared))
}

pub(crate) fn describe_one() -> Operation {
    Operation::new("getEventType", "An event type")
        .name("name", "EventName")
        .answers(StatusCode::OK, "It", reference("EventTypeDeclared"))
        .refuses(&[404, 422])
}

/// `PUT /v1/event-types/{name}?breaking=true`: declares one, or declares it anew. 201
/// if there was none.
pub(crate) async fn declare(
    State(http): State<Http>,
    caller: Caller,
    path: PathNames,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let name: EventName = path.one("name")?;
    let mut query = Query::new(query.as_deref());
    let may_break = query.one("breaking", boolean).unwrap_or_default();
    query.finish().map_err(Problem::bad_query)?;
    only_json(&headers)?;
    let body = read_json(body, http.config.body_timeout).await?;
    let declaration = Declaration::parse(name, body).map_err(Problem::unprocessable)?;
    let (declared, was_there) = caller.declare(declaration, may_break).await?;
    let status = match was_there {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    Ok((status, answer(&*declared)).into_response())
}

fn boolean(text: &str) -> Result<bool, ParseError> {
    text.parse().map_err(|_| ParseError {
        what: "boolean",
        expected: "true or false",
    })
}

pub(crate) fn describe_declare() -> Operation {
    let breaking = described(
        json!({"type": "boolean", "default": false}),
        "Also what breaks what those rely on who have subscribed: their subscriptions end",
    );
    Operation::new(
        "declareEventType",
        "Declares an event type, or declares it anew",
    )
    .says(
        "From then on, events of this name are held against its payload_schema when they are \
             published. What only adds to it can be declared at any time.",
    )
    .name("name", "EventName")
    .query("breaking", breaking)
    .body("application/json", reference("EventTypeDeclaration"))
    .answers(
        StatusCode::OK,
        "Declared anew",
        reference("EventTypeDeclared"),
    )
    .answers(
        StatusCode::CREATED,
        "Declared",
        reference("EventTypeDeclared"),
    )
    .refuses(&[409, 415, 422, 503])
}

/// `DELETE /v1/event-types/{name}`: it is not declared any more.
pub(crate) async fn remove(
    caller: Caller,
    path: PathNames,
    _: NoQuery,
) -> Result<StatusCode, Problem> {
    let name: EventName = path.one("name")?;
    match caller.undeclare(name.clone()).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(unknown(&name)),
    }
}

pub(crate) fn describe_remove() -> Operation {
    Operation::new(
        "removeEventType",
        "Takes the declaration of an event type back",
    )
    .says("Subscriptions to it end. Its events stay, and others can be published.")
    .name("name", "EventName")
    .answers_nothing("It is not declared any more")
    .refuses(&[404, 409, 422, 503])
}

/// What `EventTypeDeclared` is.
pub(crate) fn schema() -> Value {
    let more = json!({
        "name": reference("EventName"),
        "origin": described(
            json!({"type": "string", "enum": ["built_in", "settings", "stored"]}),
            "Where it is declared; only what is stored can be changed here",
        ),
        "revision": described(
            json!({"type": "integer", "minimum": 0}),
            "How often what subscribers relied on was broken",
        ),
        "input_schema": described(
            json!({"type": "object"}),
            "The arguments of a subscription, as a JSON Schema",
        ),
    });
    let declaration = Declaration::schema()["properties"].clone();
    let always = [
        "name",
        "origin",
        "revision",
        "arguments",
        "delivery",
        "input_schema",
    ];
    object(and(more, declaration), &always)
}

fn unknown(name: &EventName) -> Problem {
    Problem::not_found(format!("no event type {name} is declared"))
}

impl From<DeclareError> for Problem {
    fn from(error: DeclareError) -> Self {
        match error {
            DeclareError::Refused(refused) => refused.into(),
            DeclareError::Invalid(invalid) => Self::unprocessable(invalid),
            DeclareError::Publish(error) => error.into(),
            DeclareError::Elsewhere { .. } => Self::new(StatusCode::CONFLICT, error.to_string()),
            DeclareError::Breaking { broken } => Self::conflict(Invalid::field(
                broken.field(),
                "what only adds to what is declared, or breaking=true",
            )),
            DeclareError::TooMany => Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()),
        }
    }
}
