use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::BoxError;
use crate::metadata::META_VERSION;
use crate::refusal::Refusal;

/// One JSON-RPC message of a client, of which the frame has been checked: a
/// request, or a notification if it has no id.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Message {
    jsonrpc: &'static str,
    /// A string or an integer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<Value>,
    pub(crate) method: String,
    /// An object, or null if there are none.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub(crate) params: Value,
}

impl Message {
    /// The largest body that is read, in bytes.
    pub(crate) const MAX_BODY: usize = 1 << 20;

    /// Reads the message that a POST carries, if all of it comes before the timeout.
    pub(crate) async fn receive<B>(
        headers: &HeaderMap,
        body: B,
        timeout: Duration,
    ) -> Result<Self, Refusal>
    where
        B: http_body::Body<Error: Into<BoxError>>,
    {
        if !is_json(headers) {
            return Err(Refusal::http(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Content-Type must be application/json",
            ));
        }
        Self::read(&collect(body, timeout).await?)
    }

    /// Reads a message, or says what is wrong with its frame.
    pub(crate) fn read(json: &[u8]) -> Result<Self, Refusal> {
        let message = match serde_json::from_slice(json) {
            Ok(Value::Object(message)) => message,
            Ok(Value::Array(_)) => {
                return Err(Refusal::invalid_request(
                    "batches are not supported; send one message per request",
                ));
            }
            Ok(_) => {
                return Err(Refusal::invalid_request(
                    "the message must be a JSON object",
                ));
            }
            Err(error) => return Err(Refusal::parse_error(&error)),
        };
        let id = message
            .get("id")
            .filter(|id| id.is_string() || id.is_number());
        let id = id.cloned().unwrap_or_default();
        Self::of(message).map_err(|refusal| refusal.with_id(id))
    }

    fn of(mut message: Map<String, Value>) -> Result<Self, Refusal> {
        if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(Refusal::invalid_request("`jsonrpc` must be \"2.0\""));
        }
        if message.contains_key("result") || message.contains_key("error") {
            return Err(Refusal::invalid_request(
                "responses are not taken here: this endpoint asked nothing",
            ));
        }
        let method = match message.remove("method") {
            Some(Value::String(method)) => method,
            Some(_) => return Err(Refusal::invalid_request("`method` must be a string")),
            None => return Err(Refusal::invalid_request("`method` is missing")),
        };
        let id = message.remove("id");
        match &id {
            Some(id) if id.is_string() || id.as_i64().is_some() => {}
            Some(_) => {
                return Err(Refusal::invalid_request(
                    "`id` must be a string or an integer",
                ));
            }
            None if method.starts_with("notifications/") => {}
            None => {
                return Err(Refusal::invalid_request(
                    "`id` is missing: without one this is a notification, \
                     and those have methods that begin with notifications/",
                ));
            }
        }
        let params = message.remove("params").unwrap_or_default();
        // A request is answered; a notification is not, it is only refused.
        let misfit = match id {
            Some(_) => Refusal::invalid_params,
            None => Refusal::invalid_request,
        };
        if !(params.is_null() || params.is_object()) {
            return Err(misfit("`params` must be an object"));
        }
        if params.get("_meta").is_some_and(|meta| !meta.is_object()) {
            return Err(misfit("`_meta` must be an object"));
        }
        Ok(Self {
            jsonrpc: "2.0",
            id,
            method,
            params,
        })
    }

    /// The version that the message says it is written in (revision
    /// 2026-07-28, "Protocol Version Negotiation").
    pub(crate) fn protocol_version(&self) -> Option<&str> {
        self.meta(META_VERSION)?.as_str()
    }

    /// What the message says of itself under this key.
    pub(crate) fn meta(&self, key: &str) -> Option<&Value> {
        self.params.get("_meta")?.get(key)
    }

    /// The answer is one message, so nobody hears of progress before it.
    pub(crate) fn forget_progress(&mut self) {
        if let Some(Value::Object(meta)) = self.params.get_mut("_meta") {
            meta.shift_remove("progressToken");
        }
    }

    /// The message as it was understood. The bytes that came in may hold a key
    /// twice, which not everybody reads alike.
    pub(crate) fn to_json(&self) -> Bytes {
        let json = serde_json::to_vec(self).expect("JSON values are JSON");
        json.into()
    }
}

/// Whether the Content-Type is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// Reads `body` whole, unless it is too large; a declared length is judged before reading.
async fn collect<B>(body: B, timeout: Duration) -> Result<Bytes, Refusal>
where
    B: http_body::Body<Error: Into<BoxError>>,
{
    let too_large = || {
        Refusal::http(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {} bytes", Message::MAX_BODY),
        )
    };
    if body.size_hint().lower() > Message::MAX_BODY as u64 {
        return Err(too_large());
    }
    let whole = Limited::new(body, Message::MAX_BODY).collect();
    match tokio::time::timeout(timeout, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Refusal::http(
            StatusCode::BAD_REQUEST,
            format!("the body broke off: {error}"),
        )),
        Err(_) => Err(Refusal::http(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body took longer than {} s", timeout.as_secs()),
        )),
    }
}
