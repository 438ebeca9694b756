use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use notification_access::Grant;
use notification_event::schema::object;
use serde_json::json;

use crate::http::Http;
use crate::json::json as answer;
use crate::operation::Operation;
use crate::problem::Problem;
use crate::query::NoQuery;

/// What tokens can be asked to allow. Authorization servers have to know each by
/// its name, and clients register for these, so that finer ones are of no use.
/// Whoever may publish may report tasks, which is less and comes first.
const SCOPES: [&str; 5] = [
    "subscribe:**",
    "tasks:**",
    "publish:**",
    "acknowledge",
    "connections:read",
];

/// What to ask for so that `needed` is allowed: one of [`SCOPES`] if that is enough.
pub(crate) fn scope_of(needed: &Grant) -> String {
    let scopes = SCOPES.into_iter();
    let mut grants = scopes.map(|scope| scope.parse::<Grant>().expect("a grant"));
    let enough = grants.find(|grant| grant.covers(needed));
    enough.unwrap_or_else(|| needed.clone()).to_string()
}

/// `GET /.well-known/oauth-protected-resource`: where to get tokens for this
/// server (RFC 9728, section 3).
pub(crate) async fn of_server(State(http): State<Http>, _: NoQuery) -> Result<Response, Problem> {
    metadata(&http, "")
}

/// Likewise for what is served on `/mcp` (RFC 9728, section 3.1).
pub(crate) async fn of_mcp(State(http): State<Http>, _: NoQuery) -> Result<Response, Problem> {
    metadata(&http, "/mcp")
}

fn metadata(http: &Http, path: &str) -> Result<Response, Problem> {
    let servers = &http.config.authorization_servers;
    if servers.is_empty() {
        let detail = "this server takes keys; no authorization server is configured";
        return Err(Problem::not_found(detail));
    }
    let metadata = json!({
        "resource": format!("{}{path}", http.config.base_url),
        "authorization_servers": servers,
        "bearer_methods_supported": ["header"],
        "scopes_supported": SCOPES,
        "resource_name": "Real-time Notification Server",
    });
    // Public by its purpose: clients on web pages look here before they have anything.
    let anyone = [(header::CACHE_CONTROL, "public, max-age=300")];
    Ok((anyone, answer(&metadata)).into_response())
}

pub(crate) fn describe(id: &str) -> Operation {
    let url = json!({"type": "string", "format": "uri"});
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let metadata = json!({
        "resource": url,
        "authorization_servers": {"type": "array", "items": url, "minItems": 1},
        "bearer_methods_supported": texts,
        "scopes_supported": texts,
        "resource_name": {"type": "string"},
    });
    let required = [
        "resource",
        "authorization_servers",
        "bearer_methods_supported",
    ];
    Operation::new(id, "Where to get tokens for this (RFC 9728)")
        .answers(
            StatusCode::OK,
            "Protected resource metadata",
            object(metadata, &required),
        )
        .refuses(&[404])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_asked_for_that_authorization_servers_know() {
        let check = |needed: &str, expected: &str| {
            assert_eq!(scope_of(&needed.parse().unwrap()), expected, "{needed}");
        };
        check("publish:ops/db", "publish:**");
        check("subscribe:**", "subscribe:**");
        check("tasks:ops/*", "tasks:**");
        check("acknowledge", "acknowledge");
        // What none of them allows.
        check("subscribe:$audit", "subscribe:$audit");
        check("client:alice", "client:alice");
        check("admin", "admin");
    }
}
