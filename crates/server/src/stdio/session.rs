use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::message::{Message, VERSION};

pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// The session of a client that began with `initialize`, with all that it takes
/// to begin it again.
#[derive(Clone, Debug)]
pub(super) struct Session {
    id: HeaderValue,
    /// What was agreed on.
    version: Option<HeaderValue>,
    /// How often it was begun again.
    pub(super) number: u64,
    /// The request that began it.
    pub(super) initialize: Bytes,
    /// The client has said that it is ready.
    pub(super) is_ready: bool,
    /// The request that said how severe messages have to be.
    pub(super) level: Option<Bytes>,
    /// The requests that subscribed to resources, by their URIs. The server has a
    /// bound on them.
    pub(super) subscriptions: BTreeMap<String, Bytes>,
}

/// Whether requests of this method change what a session is told.
pub(super) fn changes_session(method: &str) -> bool {
    let methods = [
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
    ];
    methods.contains(&method)
}

impl Session {
    /// The session that the answer to `initialize` began; none if it began none.
    pub(super) fn begun(initialize: Bytes, headers: &HeaderMap, answer: &[u8]) -> Option<Self> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        let result = answer.get("result")?;
        let version = result["protocolVersion"].as_str();
        Some(Self {
            id: headers.get(SESSION)?.clone(),
            version: version.and_then(|version| version.parse().ok()),
            number: 0,
            initialize,
            is_ready: false,
            level: None,
            subscriptions: BTreeMap::new(),
        })
    }

    /// This one, begun again as `new`.
    pub(super) fn again(&self, new: Self) -> Self {
        if new.version != self.version {
            tracing::warn!(agreed = ?self.version, now = ?new.version, "the server speaks another version than before");
        }
        Self {
            id: new.id,
            version: new.version,
            number: self.number + 1,
            ..self.clone()
        }
    }

    /// Keeps what a request that was carried out has made of it.
    pub(super) fn took(&mut self, message: &Message) {
        match (message.method.as_str(), &message.subscribes) {
            ("logging/setLevel", _) => self.level = Some(message.json.clone()),
            ("resources/subscribe", Some(uri)) => {
                self.subscriptions.insert(uri.clone(), message.json.clone());
            }
            (_, Some(uri)) => {
                self.subscriptions.remove(uri);
            }
            _ => {}
        }
    }

    /// Says which session a request belongs to.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        headers.insert(SESSION, self.id.clone());
        if let Some(version) = &self.version {
            headers.insert(VERSION, version.clone());
        }
    }
}
