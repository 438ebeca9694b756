use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use notification_hub::RefusalReason;
use tower_service::Service;

use crate::door::Door;
use crate::event_types;
use crate::guard::GuardConfig;
use crate::http::Http;
use crate::identity::{address, identify};
use crate::problem::Problem;
use crate::{
    activity, clients, connections, dashboard, deliveries, events, groups, headers, health, keys,
    metrics, openapi, publish, receipts, resource_metadata, session, stream, tasks, tickets,
    webhook_deliveries, webhooks, welcome,
};

/// What is served on `/mcp`, and how a request for it is refused before it gets there.
#[derive(Clone, Debug)]
pub struct Mcp<S> {
    /// Serves it, whatever the method.
    pub service: S,
    /// Makes the answer of a refusal, from its status and a sentence.
    pub refusal: fn(StatusCode, &str) -> Response,
}

/// All the doors, and `mcp` on `/mcp`.
pub fn router<S>(http: Http, mcp: Mcp<S>) -> Router
where
    S: Service<Request, Response: IntoResponse, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let refusal = mcp.refusal;
    let current = http.clone();
    let cors =
        GuardConfig::cors(move |origin| current.settings().guard.allows_origin(origin, None));
    let current = http.clone();
    let transport = http.config.tls.as_ref();
    let transport = transport.is_some_and(|tls| !tls.is_self_signed());
    let check = move |request: Request, next: Next| {
        let guard = &current.settings().guard;
        let verdict = guard.check(request.uri(), request.headers());
        let http = current.clone();
        async move {
            let mut response = match verdict {
                Ok(()) => next.run(request).await,
                Err((status, detail)) => {
                    let address = address(&http, request.extensions(), request.headers());
                    http.hub.refused(RefusalReason::Foreign, address, &detail);
                    match request.uri().path() {
                        "/mcp" => refusal(status, &detail),
                        _ => Problem::new(status, detail).into_response(),
                    }
                }
            };
            headers::add(response.headers_mut(), transport);
            response
        }
    };
    let doors = doors().into_iter();
    doors
        .fold(Router::new(), |router, door| door.open(router))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .route("/assets/{*file}", get(dashboard::asset))
        .route_service("/mcp", mcp.service)
        .with_state(http.clone())
        .layer(middleware::from_fn_with_state((http, refusal), identify))
        .layer(cors)
        // Outermost: before anything else, also before CORS answers an OPTIONS.
        .layer(middleware::from_fn(check))
}

/// Every door but `/mcp`, which is not ours.
pub(crate) fn doors() -> Vec<Door> {
    vec![
        Door::at("/").get(welcome::welcome, welcome::describe()),
        Door::at("/openapi.json").get(openapi::openapi, openapi::describe()),
        Door::at("/v1/stream").get(stream::stream, stream::describe()),
        Door::at("/v1/events")
            .get(events::events, events::describe())
            .post(publish::events, publish::describe_events()),
        Door::at("/v1/events/{event_id}/receipts")
            .get(receipts::receipts, receipts::describe_receipts()),
        Door::at("/v1/events/{event_id}/deliveries")
            .get(deliveries::explain, deliveries::describe_explain()),
        Door::at("/v1/topics/{*topic}").post(publish::topic, publish::describe_topic()),
        Door::at("/v1/tasks").get(tasks::list, tasks::describe_list()),
        Door::at("/v1/tasks/{task_id}")
            .get(tasks::one, tasks::describe_one())
            .put(tasks::report, tasks::describe_report()),
        Door::at("/v1/tasks/{task_id}/cancel").post(tasks::cancel, tasks::describe_cancel()),
        Door::at("/v1/clients").get(clients::list, clients::describe_list()),
        Door::at("/v1/clients/{client_id}")
            .get(clients::one, clients::describe_one())
            .delete(clients::forget, clients::describe_forget()),
        Door::at("/v1/clients/{client_id}/acks")
            .post(receipts::acknowledge, receipts::describe_acknowledge()),
        Door::at("/v1/groups").get(groups::list, groups::describe_list()),
        Door::at("/v1/groups/{group}").get(groups::one, groups::describe_one()),
        Door::at("/v1/groups/{group}/clients/{client_id}")
            .put(groups::join, groups::describe_join())
            .delete(groups::leave, groups::describe_leave()),
        Door::at("/v1/activity").get(activity::activity, activity::describe()),
        Door::at("/v1/connections").get(connections::list, connections::describe_list()),
        Door::at("/v1/connections/{connection_id}")
            .delete(connections::close, connections::describe_close()),
        Door::at("/v1/keys")
            .get(keys::list, keys::describe_list())
            .post(keys::create, keys::describe_create()),
        Door::at("/v1/keys/{id}").delete(keys::revoke, keys::describe_revoke()),
        Door::at("/v1/event-types").get(event_types::list, event_types::describe_list()),
        Door::at("/v1/event-types/{name}")
            .get(event_types::one, event_types::describe_one())
            .put(event_types::declare, event_types::describe_declare())
            .delete(event_types::remove, event_types::describe_remove()),
        Door::at("/v1/webhooks")
            .get(webhooks::list, webhooks::describe_list())
            .post(webhooks::create, webhooks::describe_create()),
        Door::at("/v1/webhooks/public-key")
            .get(webhooks::public_key, webhooks::describe_public_key()),
        Door::at("/v1/webhooks/{webhook_id}")
            .get(webhooks::one, webhooks::describe_one())
            .patch(webhooks::change, webhooks::describe_change())
            .delete(webhooks::delete, webhooks::describe_delete()),
        Door::at("/v1/webhooks/{webhook_id}/rotate-secret")
            .post(webhooks::rotate, webhooks::describe_rotate()),
        Door::at("/v1/webhooks/{webhook_id}/test").post(webhooks::test, webhooks::describe_test()),
        Door::at("/v1/webhooks/{webhook_id}/attempts").get(
            webhook_deliveries::attempts,
            webhook_deliveries::describe_attempts(),
        ),
        Door::at("/v1/webhooks/{webhook_id}/dead-letters").get(
            webhook_deliveries::dead_letters,
            webhook_deliveries::describe_dead_letters(),
        ),
        Door::at("/v1/webhooks/{webhook_id}/dead-letters/redeliver").post(
            webhook_deliveries::redeliver,
            webhook_deliveries::describe_redeliver(),
        ),
        Door::at("/v1/tickets").post(tickets::issue, tickets::describe_issue()),
        Door::at("/v1/session")
            .get(session::show, session::describe_show())
            .post(session::begin, session::describe_begin())
            .delete(session::end, session::describe_end()),
        Door::at("/.well-known/oauth-protected-resource").get(
            resource_metadata::of_server,
            resource_metadata::describe("resourceMetadata"),
        ),
        Door::at("/.well-known/oauth-protected-resource/mcp").get(
            resource_metadata::of_mcp,
            resource_metadata::describe("mcpResourceMetadata"),
        ),
        Door::at("/healthz").get(health::alive, health::describe_alive()),
        Door::at("/readyz").get(health::ready, health::describe_ready()),
        Door::at("/metrics").get(metrics::metrics, metrics::describe()),
    ]
}

/// The event stream alone: `GET` and `HEAD`, on whatever path it is served.
pub fn plain_stream(
    http: Http,
) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    get(stream::stream).with_state::<()>(http)
}

async fn not_found(State(http): State<Http>, request: Request<Body>) -> Problem {
    let url = &http.config.base_url;
    let detail = format!(
        "there is nothing at {}; {url}/ says what there is",
        request.uri().path()
    );
    Problem::new(StatusCode::NOT_FOUND, detail)
}

async fn method_not_allowed(method: Method) -> Problem {
    let detail = format!("{method} is not allowed here; the Allow header says what is");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
