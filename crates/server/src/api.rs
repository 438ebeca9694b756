//! A client of a server that runs, for the command line.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use serde_json::Value;

use crate::client::{bearer, causes, http_client};
use crate::event_stream::Events;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// Speaks to one server, as one principal.
pub struct Api {
    /// `https://events.example.com`, without a slash at the end.
    server: String,
    uri: Uri,
    authorization: Option<HeaderValue>,
}

/// Why a server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
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
    /// There is no answer.
    #[error("{server} does not answer: {reason}")]
    Unreachable {
        /// Which server.
        server: String,
        /// Why.
        reason: String,
    },
    /// It says no.
    #[error("the server refused: {detail} ({status})")]
    Refused {
        /// The status.
        status: u16,
        /// What it says.
        detail: String,
    },
}

impl Api {
    /// Speaks to `server`, with `key` if there is one.
    pub fn new(server: &str, key: Option<&str>) -> Result<Self, ApiError> {
        let address = || ApiError::Address(server.to_owned());
        let uri: Uri = server.parse().map_err(|_| address())?;
        let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_known || uri.host().is_none() || uri.path() != "/" || uri.query().is_some() {
            return Err(address());
        }
        let authorization = key.map(|key| bearer(&uri, key)).transpose()?;
        Ok(Self {
            server: server.trim_end_matches('/').to_owned(),
            uri,
            authorization,
        })
    }

    /// Asks for something: the answer's JSON, null if it has none.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ApiError> {
        let asked = tokio::time::timeout(TIMEOUT, self.send(method, path, body)).await;
        let asked = asked.map_err(|_| "no answer within 30 seconds".to_owned());
        let (status, body) = asked
            .and_then(|sent| sent)
            .map_err(|reason| self.unreachable(reason))?;
        match status {
            200..300 => Ok(serde_json::from_slice(&body).unwrap_or_default()),
            _ => Err(refused(status, &body)),
        }
    }

    /// Opens a stream of events, after a place in the log if there is one to go on from.
    pub async fn stream(&self, path: &str, after: Option<&str>) -> Result<ApiStream, ApiError> {
        let opened = async {
            let mut request = self.request(Method::GET, path, None)?;
            let headers = request.headers_mut();
            headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
            if let Some(after) = after {
                let after = HeaderValue::from_str(after).map_err(|error| error.to_string())?;
                headers.insert("last-event-id", after);
            }
            let answer = http_client(&self.uri)?.request(request).await;
            answer.map_err(|error| causes(&error))
        };
        let opened = tokio::time::timeout(TIMEOUT, opened).await;
        let opened = opened.map_err(|_| "no answer within 30 seconds".to_owned());
        let answer = opened
            .and_then(|opened| opened)
            .map_err(|reason| self.unreachable(reason))?;
        if answer.status() == StatusCode::OK {
            let body = answer.into_body().map_err(Into::into).boxed_unsync();
            return Ok(ApiStream(Events::of(body)));
        }
        let (status, body) = read(answer)
            .await
            .map_err(|reason| self.unreachable(reason))?;
        Err(refused(status, &body))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Bytes), String> {
        let request = self.request(method, path, body)?;
        let answer = http_client(&self.uri)?.request(request).await;
        read(answer.map_err(|error| causes(&error))?).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.server))
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body)));
        request.map_err(|error| error.to_string())
    }

    fn unreachable(&self, reason: String) -> ApiError {
        let server = self.server.clone();
        ApiError::Unreachable { server, reason }
    }
}

async fn read(answer: Response<Incoming>) -> Result<(u16, Bytes), String> {
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|error| error.to_string())?;
    Ok((status, body.to_bytes()))
}

/// What a server says that refuses (RFC 9457).
fn refused(status: u16, body: &[u8]) -> ApiError {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    ApiError::Refused {
        status,
        detail: match json["detail"].as_str() {
            Some(detail) => detail.to_owned(),
            None => "it says no more than that".to_owned(),
        },
    }
}

/// An open stream of a server's events.
#[derive(Debug)]
pub struct ApiStream(Events);

impl ApiStream {
    /// The JSON of the next event or status; none at the end of the connection.
    ///
    /// # Errors
    ///
    /// Why the stream broke off.
    pub async fn next(&mut self) -> Result<Option<Value>, String> {
        loop {
            let data = self.0.next().await.map_err(|error| error.to_string())?;
            let Some(data) = data else {
                return Ok(None);
            };
            if let Ok(json) = serde_json::from_slice(&data) {
                return Ok(Some(json));
            }
        }
    }

    /// Where to go on.
    pub fn last_id(&self) -> Option<&str> {
        self.0.last_id()
    }

    /// How long to wait before coming back, if the server has said so.
    pub fn retry(&self) -> Option<Duration> {
        self.0.retry()
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Api").field(&self.server).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_of_a_server() {
        for good in ["http://127.0.0.1:8005", "https://events.example.com/"] {
            assert!(Api::new(good, Some("ntf_x")).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "127.0.0.1:8005",
            "ftp://a",
            "http://a/mcp",
            "http://a/?b",
        ] {
            assert!(
                matches!(Api::new(wrong, None), Err(ApiError::Address(_))),
                "{wrong}"
            );
        }
        let api = Api::new("https://a", Some("s3cret")).unwrap();
        assert!(!format!("{api:?}").contains("s3cret"));
        assert!(matches!(
            Api::new("http://[::1]:8005", Some("a\nb")),
            Err(ApiError::Key)
        ));
        let clear = Api::new("http://events.example.com", Some("s3cret")).unwrap_err();
        assert!(matches!(clear, ApiError::Clear(_)));
        assert!(!clear.to_string().contains("s3cret"));
        assert!(Api::new("http://events.example.com", None).is_ok());
    }
}
