use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use notification_event::schema::{all_of, reference};
use notification_event::{ClientId, GroupName};
use notification_hub::Caller;
use serde::Serialize;
use serde_json::{Value, json};

use crate::json::json as answer;
use crate::operation::Operation;
use crate::path::PathNames;
use crate::problem::Problem;
use crate::query::NoQuery;

#[derive(Serialize)]
struct Membership {
    group: GroupName,
    client_id: ClientId,
}

/// `PUT /v1/groups/{group}/clients/{client_id}`: the client is in the group for
/// whatever is published from now on. 201 if it was not in it before.
pub(crate) async fn join(caller: Caller, path: PathNames, _: NoQuery) -> Result<Response, Problem> {
    let (group, client_id): (GroupName, ClientId) = path.two("group", "client_id")?;
    let joined = caller.join_group(group.clone(), client_id.clone()).await?;
    let status = match joined {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let membership = Membership { group, client_id };
    Ok((status, answer(&membership)).into_response())
}

pub(crate) fn describe_join() -> Operation {
    let membership =
        || all_of(json!({"group": reference("GroupName"), "client_id": reference("ClientId")}));
    Operation::new(
        "joinGroup",
        "Puts a client into a group, for what is published from now on",
    )
    .name("group", "GroupName")
    .name("client_id", "ClientId")
    .answers(StatusCode::CREATED, "It joined", membership())
    .answers(StatusCode::OK, "It was in it", membership())
    .refuses(&[422, 429, 503])
}

/// `DELETE /v1/groups/{group}/clients/{client_id}`: the client is not in the
/// group for whatever is published from now on.
pub(crate) async fn leave(
    caller: Caller,
    path: PathNames,
    _: NoQuery,
) -> Result<StatusCode, Problem> {
    let (group, client_id): (GroupName, ClientId) = path.two("group", "client_id")?;
    match caller.leave_group(group.clone(), client_id.clone()).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::not_found(format!(
            "client {client_id} is not in group {group}"
        ))),
    }
}

pub(crate) fn describe_leave() -> Operation {
    Operation::new(
        "leaveGroup",
        "Takes a client out of a group, for what is published from now on",
    )
    .name("group", "GroupName")
    .name("client_id", "ClientId")
    .answers_nothing("It left")
    .refuses(&[404, 422, 503])
}

/// `GET /v1/groups`: the groups that have members, and how many.
pub(crate) async fn list(caller: Caller, _: NoQuery) -> Result<Response, Problem> {
    let groups = caller.groups()?.into_iter();
    let groups: Vec<_> = groups
        .map(|(group, clients)| json!({"group": group, "clients": clients}))
        .collect();
    Ok(answer(&json!({"groups": groups})))
}

pub(crate) fn describe_list() -> Operation {
    let group = all_of(json!({
        "group": reference("GroupName"),
        "clients": {"type": "integer", "minimum": 1},
    }));
    let groups = all_of(json!({"groups": {"type": "array", "items": group}}));
    Operation::new("listGroups", "The groups that have members, and how many").answers(
        StatusCode::OK,
        "In order of their names",
        groups,
    )
}

/// `GET /v1/groups/{group}`: its members.
pub(crate) async fn one(caller: Caller, path: PathNames, _: NoQuery) -> Result<Response, Problem> {
    let group: GroupName = path.one("group")?;
    let clients = caller.group(&group)?;
    match clients.is_empty() {
        true => Err(Problem::not_found(format!("group {group} has no members"))),
        false => Ok(answer(&json!({"group": group, "clients": clients}))),
    }
}

pub(crate) fn describe_one() -> Operation {
    let clients = json!({"type": "array", "items": reference("ClientId"), "minItems": 1});
    let group: Value = all_of(json!({"group": reference("GroupName"), "clients": clients}));
    Operation::new("getGroup", "The members of a group")
        .name("group", "GroupName")
        .answers(StatusCode::OK, "In order of their names", group)
        .refuses(&[404, 422])
}
