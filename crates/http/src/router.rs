use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_service::Service;

use crate::http::Http;
use crate::problem::Problem;
use crate::{events, health, metrics, publish, stream, welcome};

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
    let guard = http.config.guard.clone();
    let cors = guard.cors();
    let refusal = mcp.refusal;
    let check = move |request: Request, next: Next| {
        let verdict = guard.check(request.uri(), request.headers());
        async move {
            match verdict {
                Ok(()) => next.run(request).await,
                Err((status, detail)) => {
                    tracing::warn!(%status, detail, path = request.uri().path(), "request refused");
                    match request.uri().path() {
                        "/mcp" => refusal(status, &detail),
                        _ => Problem::new(status, detail).into_response(),
                    }
                }
            }
        }
    };
    Router::new()
        .route("/", get(welcome::welcome))
        .route("/v1/stream", get(stream::stream))
        .route("/v1/events", get(events::events).post(publish::events))
        .route("/v1/topics/{*topic}", post(publish::topic))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .route_service("/mcp", mcp.service)
        .with_state(http)
        .layer(cors)
        // Outermost: before anything else, also before CORS answers an OPTIONS.
        .layer(middleware::from_fn(check))
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
