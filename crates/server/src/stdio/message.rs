use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::failure::Failure;

pub(super) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// The first version that carries its metadata in every request.
const FIRST_MODERN: &str = "2026-07-28";

/// A client's message, read as far as it has to be known where it goes. Whether
/// it is right is the server's to say.
#[derive(Debug)]
pub(super) struct Message {
    /// As it came.
    pub(super) json: Bytes,
    pub(super) kind: Kind,
    /// Null if there is none.
    pub(super) id: Value,
    pub(super) method: String,
    /// The version that it says it is written in (revision 2026-07-28,
    /// "Per-request protocol fields").
    version: Option<String>,
    /// What it names, if it is of a kind that a header says the name of.
    name: Option<String>,
    /// The request that it cancels.
    pub(super) cancels: Option<Value>,
    /// The resource that it subscribes to, or does not want to hear of any more.
    pub(super) subscribes: Option<String>,
}

/// What is to be expected after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An answer.
    Request,
    /// Nothing: it is a notification, or a response.
    Notification,
}

impl Message {
    /// Reads a line, or says why it is no message.
    pub(super) fn read(json: Bytes) -> Result<Self, Failure> {
        let message: Value = serde_json::from_slice(&json).map_err(|e| Failure::parse(&e))?;
        if !message.is_object() {
            let expected = "the line must be one JSON object; batches are not supported";
            return Err(Failure::invalid(expected));
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let params = &message["params"];
        let method = text(&message["method"]).unwrap_or_default();
        let is_response = method.is_empty() && message["id"] != Value::Null;
        let is_notification = message.get("id").is_none() && method.starts_with("notifications/");
        let answers = message.get("result").is_some() || message.get("error").is_some();
        let is_silent = is_notification || (is_response && answers);
        let name = match method.as_str() {
            "tools/call" | "prompts/get" => text(&params["name"]),
            "resources/read" => text(&params["uri"]),
            "tasks/get" | "tasks/update" | "tasks/cancel" => text(&params["taskId"]),
            _ => None,
        };
        let subscribes = match method.as_str() {
            "resources/subscribe" | "resources/unsubscribe" => text(&params["uri"]),
            _ => None,
        };
        let cancels = (method == "notifications/cancelled").then(|| params["requestId"].clone());
        Ok(Self {
            kind: match is_silent {
                true => Kind::Notification,
                false => Kind::Request,
            },
            id: message["id"].clone(),
            version: text(&params["_meta"]["io.modelcontextprotocol/protocolVersion"]),
            json,
            method,
            name,
            cancels,
            subscribes,
        })
    }

    /// Whether it says all that is to be known of it, and belongs to no session.
    /// Versions are dates, so they are in the order of their text.
    pub(super) fn is_modern(&self) -> bool {
        let version = self.version.as_deref();
        version.is_some_and(|version| version >= FIRST_MODERN)
    }

    /// Whether it asks for what ends when its client wants it to, and not before
    /// (revision 2026-07-28, "Subscriptions"). Nobody waits for its answer at the end.
    pub(super) fn is_endless(&self) -> bool {
        matches!(&*self.method, "subscriptions/listen" | "events/stream")
    }

    /// Whether it names its version itself.
    pub(super) fn names_version(&self) -> bool {
        self.version.is_some()
    }

    /// Says in headers what it says itself (revision 2026-07-28, Streamable HTTP,
    /// "Standard Headers").
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) -> Result<(), Failure> {
        let plain = |value: &str, what: &str| {
            let value = HeaderValue::from_str(value);
            value.map_err(|_| {
                let expected = "expected letters, digits and signs, as in a header";
                Failure::invalid(format!("{what}: {expected}"))
            })
        };
        if let Some(version) = &self.version {
            headers.insert(VERSION, plain(version, "protocolVersion")?);
        }
        headers.insert(METHOD, plain(&self.method, "method")?);
        if let Some(name) = &self.name {
            headers.insert(NAME, plain(&fit_for_header(name), "name")?);
        }
        Ok(())
    }
}

/// A text as a header can carry it (revision 2026-07-28, "Value Encoding").
fn fit_for_header(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
        && text.trim() == text
        && !text.to_ascii_lowercase().starts_with("=?base64?");
    match is_plain {
        true => text.to_owned(),
        false => format!("=?base64?{}?=", BASE64_STANDARD.encode(text)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: &Value) -> Message {
        Message::read(json.to_string().into()).unwrap()
    }

    #[test]
    fn what_has_to_be_answered_is_a_request() {
        let check = |message: Value, expected: Kind| {
            assert_eq!(read(&message).kind, expected, "{message}");
        };
        check(json!({"id": 1, "method": "ping"}), Kind::Request);
        check(json!({"id": null, "method": "ping"}), Kind::Request);
        check(json!({"method": "ping"}), Kind::Request);
        check(json!({"id": 1}), Kind::Request);
        check(json!({}), Kind::Request);
        check(json!({"id": 1, "method": "notifications/x"}), Kind::Request);
        check(json!({"method": "notifications/x"}), Kind::Notification);
        check(json!({"id": 1, "result": {}}), Kind::Notification);
        check(json!({"id": 1, "error": {}}), Kind::Notification);
    }

    #[test]
    fn the_version_decides_where_it_belongs() {
        let check = |version: Value, expected: bool| {
            let meta = json!({"io.modelcontextprotocol/protocolVersion": version});
            let message = read(&json!({"id": 1, "method": "m", "params": {"_meta": meta}}));
            assert_eq!(message.is_modern(), expected, "{version}");
        };
        check(json!("2026-07-28"), true);
        check(json!("2099-01-01"), true);
        check(json!("v999"), true);
        check(json!("2025-11-25"), false);
        check(json!(7), false);
    }

    #[test]
    fn headers_say_what_the_message_says() {
        let check = |name: &str, expected: &str| {
            let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
            let params = json!({"name": name, "_meta": meta});
            let message = json!({"id": 1, "method": "tools/call", "params": params});
            let mut headers = HeaderMap::new();
            read(&message).add_headers(&mut headers).unwrap();
            assert_eq!(headers[VERSION], "2026-07-28");
            assert_eq!(headers[METHOD], "tools/call");
            assert_eq!(headers[NAME], expected);
        };
        check("send_notification", "send_notification");
        check("with a blank", "with a blank");
        check("Grüße", "=?base64?R3LDvMOfZQ==?=");
        check(" a", "=?base64?IGE=?=");
        check("=?base64?eA==?=", "=?base64?PT9iYXNlNjQ/ZUE9PT89?=");
        for (method, field) in [("resources/read", "uri"), ("tasks/get", "taskId")] {
            let message = read(&json!({"id": 1, "method": method, "params": {field: "x"}}));
            let mut headers = HeaderMap::new();
            message.add_headers(&mut headers).unwrap();
            assert_eq!(headers[NAME], "x", "{method}");
        }
        let wrong = read(&json!({"id": 1, "method": "a\nb"}));
        assert!(wrong.add_headers(&mut HeaderMap::new()).is_err());
    }
}
