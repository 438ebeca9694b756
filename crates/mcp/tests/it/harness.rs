use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use notification_access::Principal;
use notification_event::Filter;
use notification_hub::{Hub, HubConfig, PageRequest, Start, Subscribe, Subscription};
use notification_log::MemoryLog;
use notification_mcp::{Body, ErrorCodes, EventsConfig, Identity, Mcp, McpConfig, SessionsConfig};
use notification_webhook::{Webhooks, WebhooksConfig};
use serde_json::{Value, json};
use tower::{ServiceExt, service_fn};

/// What the service of the plain stream lane answers here.
pub(crate) const STREAM: &str = "data: the plain stream\n\n";

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) hub: Hub,
    pub(crate) mcp: Mcp,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let log = Arc::new(MemoryLog::new());
        let hub = Hub::open(log, HubConfig::default()).await.unwrap();
        let config = McpConfig {
            webhooks: Webhooks::new(hub.clone(), WebhooksConfig::default()),
            identity: Identity::default(),
            tools: Vec::new(),
            has_streams: true,
            base_url: Some("http://127.0.0.1:8005".to_owned()),
            body_timeout: Duration::from_secs(30),
            events: EventsConfig {
                error_codes: ErrorCodes::Sep3415,
                heartbeat: Duration::from_secs(15),
            },
            sessions: SessionsConfig {
                max: 10,
                idle_timeout: Duration::from_secs(60),
            },
        };
        let mcp = Mcp::new(&config);
        Self { hub, mcp }
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let (parts, body) = self.begin(request).await.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// Sends a request. The body of its answer has not been read.
    pub(crate) async fn begin(&self, mut request: Request<Full<Bytes>>) -> Response<Body> {
        let local = self.hub.caller(Arc::new(Principal::local()), None);
        request.extensions_mut().insert(local);
        let plain_stream = service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(STREAM)))
        });
        let endpoint = self.mcp.endpoint(plain_stream);
        let Ok(response) = endpoint.oneshot(request).await;
        response
    }

    /// A request as curl sends it, with more headers.
    pub(crate) async fn request(
        &self,
        method: Method,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        self.send(Self::as_curl(method, headers, body)).await
    }

    /// That request.
    pub(crate) fn as_curl(
        method: Method,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = method;
        *request.uri_mut() = "/mcp".parse().unwrap();
        let curl = [("host", "127.0.0.1:8005"), ("accept", "*/*")];
        let json = [("content-type", "application/json")];
        for (name, value) in curl.iter().chain(&json).chain(headers) {
            let name: header::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        request
    }

    pub(crate) async fn post(&self, message: Value) -> Answer {
        self.request(Method::POST, &[], message.to_string()).await
    }

    /// The result of calling a tool.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        let message =
            json!({"jsonrpc": "2.0", "id": "c", "method": "tools/call", "params": params});
        let answer = self.post(message).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json()["result"].clone()
    }

    /// What a tool answers.
    pub(crate) async fn ask(&self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], false, "{result}");
        result["structuredContent"].clone()
    }

    /// What a tool says that does not do what it is asked.
    pub(crate) async fn refusal(&self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], true, "{result}");
        assert_eq!(result.get("structuredContent"), None);
        text(&result).to_owned()
    }

    /// The stream of a client.
    pub(crate) async fn stream_of(&self, client: &str) -> Subscription {
        let subscribe = Subscribe {
            client: Some(client.parse().unwrap()),
            ..Subscribe::default()
        };
        self.hub.subscribe(subscribe).await.unwrap()
    }

    /// The descriptors of the tools.
    pub(crate) async fn tools(&self) -> Vec<Value> {
        let message = json!({"jsonrpc": "2.0", "id": "l", "method": "tools/list"});
        let answer = self.post(message).await.json();
        answer["result"]["tools"].as_array().unwrap().clone()
    }

    /// Everything that was published.
    pub(crate) async fn events(&self) -> Vec<Value> {
        let request = PageRequest {
            filter: Filter::default(),
            client: None,
            start: Start::Beginning,
            limit: 1_000,
        };
        let page = self.hub.page(request).await.unwrap();
        let events = page.frames.iter();
        events
            .map(|frame| serde_json::from_slice(frame.json()).unwrap())
            .collect()
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The text of a tool's result.
pub(crate) fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}
