use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use notification_access::{Principal, SESSION_LIFE};
use notification_event::schema::{object, reference};
use notification_hub::Caller;
use serde_json::{Value, json};

use crate::identity::COOKIE;
use crate::json::json as answer;
use crate::operation::Operation;
use crate::problem::Problem;
use crate::query::NoQuery;

/// `GET /v1/session`: who asks, and what he may.
pub(crate) async fn show(caller: Caller, _: NoQuery) -> Response {
    answer(&to_json(caller.principal()))
}

pub(crate) fn describe_show() -> Operation {
    Operation::new("getSession", "Who asks, and what he may").answers(
        StatusCode::OK,
        "The principal",
        reference("Principal"),
    )
}

/// `POST /v1/session`: exchanges the credential that comes along for a cookie.
pub(crate) async fn begin(caller: Caller, _: NoQuery) -> Result<Response, Problem> {
    let (text, principal) = caller.begin_session()?;
    let life = SESSION_LIFE.as_secs();
    let mut response = (StatusCode::CREATED, answer(&to_json(&principal))).into_response();
    set_cookie(response.headers_mut(), &format!("{text}; Max-Age={life}"));
    Ok(response)
}

pub(crate) fn describe_begin() -> Operation {
    Operation::new("beginSession", "Exchanges a credential for a cookie")
        .says("Which no script can read. It is taken from pages of this server only.")
        .answers(
            StatusCode::CREATED,
            "The principal; Set-Cookie brings the cookie",
            reference("Principal"),
        )
}

/// `DELETE /v1/session`: ends the session, and the streams that were opened in it.
pub(crate) async fn end(caller: Caller, _: NoQuery) -> Result<Response, Problem> {
    if !caller.end_session() {
        return Err(Problem::not_found(
            "this request comes without a session's cookie",
        ));
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(response.headers_mut(), "; Max-Age=0");
    Ok(response)
}

pub(crate) fn describe_end() -> Operation {
    Operation::new(
        "endSession",
        "Ends the session, and the streams that were opened in it",
    )
    .answers_nothing("It has ended")
    .refuses(&[404])
}

fn set_cookie(headers: &mut HeaderMap, value: &str) {
    let cookie = format!("{COOKIE}={value}; Path=/; HttpOnly; Secure; SameSite=Lax");
    let mut cookie = HeaderValue::try_from(cookie).expect("letters and digits");
    cookie.set_sensitive(true);
    headers.insert(header::SET_COOKIE, cookie);
}

fn to_json(principal: &Principal) -> Value {
    let mut json = json!({
        "principal": &*principal.name,
        "allow": principal.grants.iter().collect::<Vec<_>>(),
    });
    if let Some(client) = &principal.client {
        json["client_id"] = json!(client);
    }
    if let Some(groups) = &principal.groups {
        json["groups"] = json!(groups);
    }
    if let Some(time) = principal.expires_at {
        json["expires_at"] = json!(time);
    }
    json
}

/// Of a principal, as it is shown to itself.
pub(crate) fn schema() -> Value {
    let properties = json!({
        "principal": {"type": "string"},
        "allow": {"type": "array", "items": {"type": "string"}},
        "client_id": reference("ClientId"),
        "groups": {"type": "array", "items": reference("GroupName")},
        "expires_at": reference("Timestamp"),
    });
    object(properties, &["principal", "allow"])
}
