use std::str::FromStr;

use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::Response;
use notification_event::ParseError;
use notification_event::schema::{object, reference};
use notification_hub::Caller;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::json::json as answer;
use crate::operation::Operation;
use crate::path::PathNames;
use crate::problem::Problem;
use crate::query::{NoQuery, Query, client, describe_client};

/// What names an open stream, as its `connected` says it: a UUID in lower case
/// (RFC 9562, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionId(Uuid);

impl ConnectionId {
    pub(crate) fn schema() -> Value {
        let pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";
        json!({"type": "string", "format": "uuid", "pattern": pattern})
    }
}

impl FromStr for ConnectionId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let id = Uuid::parse_str(text).ok();
        // One id, one spelling.
        let id = id.filter(|id| id.to_string() == text);
        id.map(Self).ok_or(ParseError {
            what: "connection id",
            expected: "a connection_id as this server gave it, unchanged",
        })
    }
}

/// An open stream, as a [`ConnectionStatus`](notification_hub::ConnectionStatus)
/// is written.
pub(crate) struct Connection;

impl Connection {
    pub(crate) fn schema() -> Value {
        let count = |of: &str| json!({"description": of, "type": "integer", "minimum": 0});
        let required = [
            "connection_id",
            "principal",
            "transport",
            "filter",
            "since",
            "sent",
            "conflated",
            "lag",
        ];
        let properties = json!({
            "connection_id": reference("ConnectionId"),
            "principal": {"description": "Who opened it", "type": "string"},
            "client_id": reference("ClientId"),
            "transport": {"description": "How it reaches its reader", "type": "string"},
            "filter": reference("Filter"),
            "durable": {"description": "What moves its client's place in the log", "enum": ["auto", "manual"]},
            "max_rate": {"description": "Events per second", "type": "number"},
            "since": reference("Timestamp"),
            "sent": count("Events it was given"),
            "conflated": count("Events it was not given because newer ones took their place"),
            "lag": count("Events of the log it has still to look at"),
            "bytes_pending": count("Bytes that its peer has not confirmed"),
            "remote_address": {"description": "An IP address and a port", "type": "string"},
        });
        object(properties, &required)
    }
}

/// `GET /v1/connections`: the open streams, the oldest first.
pub(crate) async fn list(caller: Caller, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let client = client(&mut query);
    query.finish().map_err(Problem::bad_query)?;
    let connections = caller.connections(client.as_ref())?;
    Ok(answer(&json!({"connections": connections})))
}

pub(crate) fn describe_list() -> Operation {
    let connections = json!({"type": "array", "items": reference("Connection")});
    let connections = object(json!({"connections": connections}), &["connections"]);
    let operation = Operation::new("listConnections", "The open streams");
    describe_client(operation).answers(StatusCode::OK, "The oldest first", connections)
}

/// `DELETE /v1/connections/{connection_id}`: ends a stream.
pub(crate) async fn close(
    caller: Caller,
    path: PathNames,
    _: NoQuery,
) -> Result<StatusCode, Problem> {
    let ConnectionId(id) = path.one("connection_id")?;
    match caller.close_connection(id)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::not_found(format!("no stream {id} is open"))),
    }
}

pub(crate) fn describe_close() -> Operation {
    Operation::new("closeConnection", "Ends a stream")
        .says("It is told, and cut off after a second if it does not read.")
        .name("connection_id", "ConnectionId")
        .answers_nothing("It was told")
        .refuses(&[404, 422])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_id_has_one_spelling() {
        let check = |text: &str, ok: bool| {
            assert_eq!(text.parse::<ConnectionId>().is_ok(), ok, "{text:?}");
        };
        check("6f3ba4a1-6d2e-4c93-9a3f-0e6a4b1f2c3d", true);
        check("6F3BA4A1-6D2E-4C93-9A3F-0E6A4B1F2C3D", false);
        check("6f3ba4a16d2e4c939a3f0e6a4b1f2c3d", false);
        check("{6f3ba4a1-6d2e-4c93-9a3f-0e6a4b1f2c3d}", false);
        check("", false);
        check("alice", false);
    }
}
