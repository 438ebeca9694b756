use bytes::Bytes;
use serde_json::{Value, json};

/// Why a message has no answer of the server's: a JSON-RPC error of our own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failure {
    code: i64,
    message: String,
}

/// JSON-RPC 2.0, section 5.1.
const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
/// Of the range that it leaves to servers: there was no answer.
const NO_ANSWER: i64 = -32000;
/// What the server calls it when there is no room for more.
const RESOURCE_EXHAUSTED: i64 = -32025;

impl Failure {
    /// The line is not JSON.
    pub(super) fn parse(error: &serde_json::Error) -> Self {
        Self::new(PARSE_ERROR, format!("the line is not valid JSON: {error}"))
    }

    /// It is JSON, but not a message that can be taken.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(INVALID_REQUEST, message)
    }

    /// The server did not answer.
    pub(super) fn no_answer(message: impl Into<String>) -> Self {
        Self::new(NO_ANSWER, message)
    }

    /// There are as many as there may be.
    pub(super) fn too_many(message: impl Into<String>) -> Self {
        Self::new(RESOURCE_EXHAUSTED, message)
    }

    fn new(code: i64, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }

    /// The answer to the request with this id; null if it is not known.
    pub(super) fn answer(&self, id: &Value) -> Bytes {
        let error = json!({"code": self.code, "message": self.message});
        let answer = json!({"jsonrpc": "2.0", "id": id, "error": error});
        answer.to_string().into()
    }
}
