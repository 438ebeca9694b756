use std::collections::HashMap;

use axum::http::StatusCode;
use axum::response::Response;
use notification_event::schema::{object, reference};
use notification_event::{ClientId, Cursor, GroupName, JsonObject, Timestamp};
use notification_hub::{Caller, ClientStatus, Hub};
use serde::Serialize;
use serde_json::{Value, json};

use crate::json::json as answer;
use crate::operation::Operation;
use crate::path::PathNames;
use crate::problem::Problem;
use crate::query::NoQuery;

/// A durable client, as it is shown.
#[derive(Serialize)]
pub(crate) struct Client {
    client_id: ClientId,
    ack: &'static str,
    cursor: Cursor,
    filter: JsonObject,
    /// How many events are left to it, and whether there may be more: only
    /// where one client is shown, because it takes a look at the log.
    #[serde(flatten)]
    outstanding: Option<Outstanding>,
    connections: Vec<String>,
    groups: Vec<GroupName>,
    created_at: Timestamp,
    seen_at: Timestamp,
}

#[derive(Serialize)]
struct Outstanding {
    unacknowledged: usize,
    has_more: bool,
}

impl Client {
    fn new(status: ClientStatus, groups: Vec<GroupName>, outstanding: Option<Outstanding>) -> Self {
        let ClientStatus {
            record,
            connections,
        } = status;
        Self {
            client_id: record.client,
            ack: record.ack.as_str(),
            cursor: record.cursor,
            filter: record.filter.to_json(),
            outstanding,
            connections: connections.iter().map(ToString::to_string).collect(),
            groups,
            created_at: record.created_at,
            seen_at: record.seen_at,
        }
    }

    pub(crate) fn schema() -> Value {
        let list = |of| json!({"type": "array", "items": reference(of)});
        let required = [
            "client_id",
            "ack",
            "cursor",
            "filter",
            "connections",
            "groups",
            "created_at",
            "seen_at",
        ];
        let properties = json!({
            "client_id": reference("ClientId"),
            "ack": {"description": "What moves its place in the log", "enum": ["auto", "manual"]},
            "cursor": reference("Cursor"),
            "filter": reference("Filter"),
            "unacknowledged": {
                "description": "How many events after the cursor are for it and not acknowledged",
                "type": "integer", "minimum": 0,
            },
            "has_more": {"description": "Whether there may be more", "type": "boolean"},
            "connections": list("ConnectionId"),
            "groups": list("GroupName"),
            "created_at": reference("Timestamp"),
            "seen_at": reference("Timestamp"),
        });
        object(properties, &required)
    }
}

/// `GET /v1/clients`: the durable clients.
pub(crate) async fn list(caller: Caller, _: NoQuery) -> Result<Response, Problem> {
    let clients = caller.clients()?;
    let mut groups = groups_by_client(caller.hub());
    let clients = clients.into_iter().map(|status| {
        let groups = groups.remove(&status.record.client).unwrap_or_default();
        Client::new(status, groups, None)
    });
    let clients: Vec<_> = clients.collect();
    Ok(answer(&json!({"clients": clients})))
}

/// To ask for each client would be to go through all groups for each.
fn groups_by_client(hub: &Hub) -> HashMap<ClientId, Vec<GroupName>> {
    let mut groups: HashMap<_, Vec<_>> = HashMap::new();
    for group in hub.groups().into_keys() {
        for client in hub.group(&group) {
            groups.entry(client).or_default().push(group.clone());
        }
    }
    groups
}

pub(crate) fn describe_list() -> Operation {
    let clients = json!({"type": "array", "items": reference("Client")});
    let clients = object(json!({"clients": clients}), &["clients"]);
    Operation::new("listClients", "The durable clients")
        .says("Without unacknowledged and has_more, which take a look at the log.")
        .answers(StatusCode::OK, "In order of their names", clients)
}

/// `GET /v1/clients/{client_id}`: what is known of a durable client.
pub(crate) async fn one(caller: Caller, path: PathNames, _: NoQuery) -> Result<Response, Problem> {
    let client: ClientId = path.one("client_id")?;
    let Some((status, outstanding)) = caller.client(&client).await? else {
        return Err(unknown(&client));
    };
    let (unacknowledged, has_more) = outstanding;
    let outstanding = Outstanding {
        unacknowledged,
        has_more,
    };
    let groups = caller.hub().groups_of(&client);
    Ok(answer(&Client::new(status, groups, Some(outstanding))))
}

pub(crate) fn describe_one() -> Operation {
    Operation::new("getClient", "A durable client")
        .name("client_id", "ClientId")
        .answers(StatusCode::OK, "What is known of it", reference("Client"))
        .refuses(&[404, 422, 503])
}

/// `DELETE /v1/clients/{client_id}`: forgets a durable client, and ends its
/// durable streams.
pub(crate) async fn forget(
    caller: Caller,
    path: PathNames,
    _: NoQuery,
) -> Result<StatusCode, Problem> {
    let client: ClientId = path.one("client_id")?;
    match caller.forget_client(&client).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(unknown(&client)),
    }
}

pub(crate) fn describe_forget() -> Operation {
    Operation::new(
        "forgetClient",
        "Forgets a durable client, and ends its durable streams",
    )
    .name("client_id", "ClientId")
    .answers_nothing("It is forgotten")
    .refuses(&[404, 422, 503])
}

fn unknown(client: &ClientId) -> Problem {
    Problem::not_found(format!("{client} is not a durable client"))
}
