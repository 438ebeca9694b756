use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use notification_access::{Denied, Refused};
use notification_hub::Caller;
use rmcp::model::{ClientCapabilities, ErrorCode, ErrorData, ProtocolVersion};
use serde::Serialize;
use serde_json::{Value, json};

use crate::shorten::shorten;

/// The answer to a request that something in front of the endpoint refused: a
/// JSON-RPC error, as everything on the endpoint is.
pub fn refusal<B: From<Bytes>>(status: StatusCode, message: &str) -> Response<B> {
    Refusal::http(status, message).into_response()
}

/// Why a message was not taken: a JSON-RPC error with the HTTP status it
/// travels under.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    /// The methods that would have been allowed.
    allow: Option<&'static str>,
    id: Value,
    error: Box<ErrorData>,
    /// The grant that was missing.
    denied: Option<Box<Denied>>,
}

/// What MCP's extension for events calls what we refuse, too.
const FORBIDDEN: ErrorCode = ErrorCode(-32024);
const RESOURCE_EXHAUSTED: ErrorCode = ErrorCode(-32025);

impl Refusal {
    /// Whoever calls may not. What is in front of the endpoint makes a challenge
    /// of the grant that is left among the response's extensions.
    pub(crate) fn denied(denied: Denied) -> Self {
        Self {
            denied: Some(Box::new(denied.clone())),
            ..Self::http(StatusCode::FORBIDDEN, denied.to_string())
        }
    }

    /// Whoever calls may not, or no longer, or not so much.
    pub(crate) fn refused(refused: Refused) -> Self {
        match refused {
            Refused::Denied(denied) => Self::denied(denied),
            Refused::Lapsed(lapsed) => Self::http(StatusCode::UNAUTHORIZED, lapsed.to_string()),
            Refused::Limited(limited) => {
                Self::http(StatusCode::TOO_MANY_REQUESTS, limited.to_string())
            }
        }
    }

    /// Who calls, whom something in front of the endpoint has to have said.
    pub(crate) fn unless_known(parts: &Parts) -> Result<Caller, Self> {
        let caller = parts.extensions.get::<Caller>().cloned();
        let unknown = "authentication is required";
        caller.ok_or_else(|| Self::http(StatusCode::UNAUTHORIZED, unknown))
    }

    /// The body is not JSON, so its id cannot be known.
    pub(crate) fn parse_error(error: &serde_json::Error) -> Self {
        let message = format!("the body is not valid JSON: {error}");
        Self::new(
            StatusCode::BAD_REQUEST,
            ErrorData::parse_error(message, None),
        )
    }

    /// The body is JSON, but not one JSON-RPC 2.0 message.
    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::http(StatusCode::BAD_REQUEST, message)
    }

    /// No such method here. It is an answer, so HTTP says 200 (before revision
    /// 2026-07-28).
    pub(crate) fn unknown_method(method: &str, known: &[&str]) -> Self {
        let known = known.join(", ");
        let message = format!("unknown method `{}`; known are {known}", shorten(method));
        let error = ErrorData::new(ErrorCode::METHOD_NOT_FOUND, message, None);
        Self::new(StatusCode::OK, error)
    }

    /// The method is known, its params are not usable.
    pub(crate) fn invalid_params(message: impl Into<String>) -> Self {
        let error = ErrorData::invalid_params(message.into(), None);
        Self::new(StatusCode::OK, error)
    }

    /// The session is not one of this server's. On 404 clients begin a new one
    /// (revision 2025-11-25, Streamable HTTP, "Session Management").
    pub(crate) fn unknown_session() -> Self {
        Self::http(
            StatusCode::NOT_FOUND,
            "unknown session: it has ended, or never was yours; begin another with initialize",
        )
    }

    /// There are as many sessions as there may be.
    pub(crate) fn too_many_sessions(limit: &str, max: usize) -> Self {
        let message = format!("{limit}: there are {max} sessions, which is the most");
        Self::exhausted(message, limit, max)
    }

    /// As many calls of the session run as may at once.
    pub(crate) fn too_many_calls(max: usize) -> Self {
        let message = format!("{max} calls of this session run, which is the most at once");
        Self::exhausted(message, "session.calls", max)
    }

    /// As many resources are watched as may be.
    pub(crate) fn too_many_watched(max: usize) -> Self {
        let message = format!("{max} resources are subscribed to, which is the most");
        Self::exhausted(message, "resources.subscriptions", max)
    }

    /// The client wants to hear of tasks, and does not say that it knows what they
    /// are (MCP's extension for tasks, "Task Status Notifications").
    pub(crate) fn missing_tasks_capability() -> Self {
        let needed = ClientCapabilities::builder().enable_tasks().build();
        let error = ErrorData::missing_required_client_capability(needed);
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    fn exhausted(message: String, limit: &str, max: usize) -> Self {
        let data = json!({ "limit": limit, "max": max });
        let error = ErrorData::new(RESOURCE_EXHAUSTED, message, Some(data));
        Self::new(StatusCode::TOO_MANY_REQUESTS, error)
    }

    /// An answer that is an error.
    pub(crate) fn error(error: ErrorData) -> Self {
        Self::new(StatusCode::OK, error)
    }

    /// The request names a version that requests cannot name here. `supported` are
    /// those that they can; those that begin with `initialize` are not among them
    /// (revision 2026-07-28, "Protocol Version Negotiation").
    pub(crate) fn unsupported_version(requested: &str, supported: &[ProtocolVersion]) -> Self {
        let supported: Vec<_> = supported.iter().map(ProtocolVersion::as_str).collect();
        let requested = shorten(requested);
        let message = format!(
            "unsupported protocol version {requested}: supported are {}, and older ones that \
             begin with initialize",
            supported.join(", ")
        );
        let data = json!({ "supported": supported, "requested": requested });
        let code = ErrorCode::UNSUPPORTED_PROTOCOL_VERSION;
        let error = ErrorData::new(code, message, Some(data));
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// The headers say something else than the request, or not what they have to
    /// (revision 2026-07-28, "Server Validation").
    pub(crate) fn header_mismatch(message: impl Into<String>) -> Self {
        let error = ErrorData::new(ErrorCode::HEADER_MISMATCH, message.into(), None);
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// The request lacks metadata that every request has to have.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::invalid_params(message).with_status(StatusCode::BAD_REQUEST)
    }

    /// The HTTP method has no meaning here.
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("the method is not allowed here; allowed are {allow}");
        Self {
            allow: Some(allow),
            ..Self::http(StatusCode::METHOD_NOT_ALLOWED, message)
        }
    }

    /// The request never got as far as JSON-RPC.
    pub(crate) fn http(status: StatusCode, message: impl Into<String>) -> Self {
        let code = match status {
            StatusCode::FORBIDDEN => FORBIDDEN,
            StatusCode::TOO_MANY_REQUESTS => RESOURCE_EXHAUSTED,
            status if status.is_server_error() => ErrorCode::INTERNAL_ERROR,
            _ => ErrorCode::INVALID_REQUEST,
        };
        Self::new(status, ErrorData::new(code, message.into(), None))
    }

    fn new(status: StatusCode, error: ErrorData) -> Self {
        Self {
            status,
            allow: None,
            id: Value::Null,
            error: Box::new(error),
            denied: None,
        }
    }

    /// Travels under another status.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Answers to the request `id`; without it the id is `null`.
    pub(crate) fn with_id(self, id: Value) -> Self {
        Self { id, ..self }
    }

    pub(crate) fn into_response<B: From<Bytes>>(self) -> Response<B> {
        #[derive(Serialize)]
        struct Message {
            jsonrpc: &'static str,
            id: Value,
            error: Box<ErrorData>,
        }
        let message = Message {
            jsonrpc: "2.0",
            id: self.id,
            error: self.error,
        };
        let json = serde_json::to_vec(&message).expect("JSON values are JSON");
        let mut response = Response::new(B::from(json.into()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(denied) = self.denied {
            response.extensions_mut().insert(*denied);
        }
        response
    }
}
