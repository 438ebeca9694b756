use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The address makes no sense.
    #[error("{0} is not the address of a server; expected one such as http://127.0.0.1:8005")]
    Address(String),
    /// The address is not one of an endpoint. What was given may have a secret in it.
    #[error(
        "expected the URL of an MCP endpoint such as http://127.0.0.1:8005/mcp, without a user name or a password"
    )]
    Endpoint,
    /// It cannot be told who is to be believed.
    #[error(
        "this platform has no certificate authorities ({0}); set SSL_CERT_FILE to a file with some"
    )]
    NoRoots(String),
    /// Everybody on the way could read the key.
    #[error("{0}: a key is sent over https only, except to this machine")]
    Clear(String),
    /// The key cannot be sent.
    #[error("the key is not one: expected letters, digits and signs")]
    Key,
    /// What gives credentials has given none.
    #[error("no credential: {0}")]
    NoCredential(String),
    /// There is no answer.
    #[error("{server} does not answer: {reason}")]
    Unreachable {
        /// Which server.
        server: String,
        /// Why.
        reason: String,
    },
    /// It says no.
    #[error("the server refused: {0}")]
    Refused(Refusal),
}

/// What a server says that refuses (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Its sentence.
    pub detail: String,
    /// What is wrong, by field.
    pub fields: Vec<FieldError>,
    /// The limit that was reached, as the server calls it.
    pub limit: Option<String>,
    /// When to come back, if it said.
    pub retry_after: Option<Duration>,
}

/// A field or parameter that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Which.
    pub field: String,
    /// What it should be.
    pub expected: String,
}

/// What a refusal means for who wants to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// Asking again will not help.
    Refused,
    /// It is not known who asks; another credential may help.
    Unauthorized,
    /// Later may help.
    Unavailable,
}

impl Refusal {
    /// Of an answer's status, its `Retry-After` and its body.
    #[must_use]
    pub fn read(status: u16, retry_after: Option<&str>, body: &[u8]) -> Self {
        let problem: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let fields = problem["errors"].as_array().into_iter().flatten();
        let fields = fields.filter_map(|it| {
            Some(FieldError {
                field: text(&it["field"])?,
                expected: text(&it["expected"])?,
            })
        });
        Self {
            status,
            detail: text(&problem["detail"]).unwrap_or_else(|| format!("the answer was {status}")),
            fields: fields.collect(),
            limit: text(&problem["limit"]),
            retry_after: retry_after
                .and_then(|it| it.parse().ok())
                .map(Duration::from_secs),
        }
    }

    /// What it means.
    #[must_use]
    pub fn kind(&self) -> RefusalKind {
        match self.status {
            401 => RefusalKind::Unauthorized,
            408 | 429 | 500.. => RefusalKind::Unavailable,
            _ => RefusalKind::Refused,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.status)
    }
}

impl Error {
    /// What it means; what has nothing to do with a server is refused.
    #[must_use]
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::Unreachable { .. } | Self::NoCredential(_) => RefusalKind::Unavailable,
            Self::Refused(refusal) => refusal.kind(),
            _ => RefusalKind::Refused,
        }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }
}
