use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, Uri};
use serde_json::{Map, Value, json};

use crate::connector::{HttpClient, bearer, causes, http_client};
use crate::query::encode;
use crate::{Error, Refusal, RefusalKind, Stream, StreamOptions, TaskReporter};

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// Speaks to one server, as one principal. Cheap to clone. Nothing is tried twice,
/// but with another credential.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    /// `https://events.example.com`, without a slash at the end.
    server: String,
    uri: Uri,
    credential: Credential,
    http: OnceLock<HttpClient>,
}

type Provider = dyn Fn() -> BoxFuture<'static, Result<String, String>> + Send + Sync;

enum Credential {
    None,
    Key(HeaderValue),
    Provider(Box<Provider>),
}

impl Client {
    /// Speaks to `server`, such as `https://events.example.com`.
    pub fn new(server: &str) -> Result<Self, Error> {
        Self::with(server, |_| Ok(Credential::None))
    }

    /// Likewise, with a key or token.
    pub fn with_key(server: &str, key: &str) -> Result<Self, Error> {
        Self::with(server, |uri| Ok(Credential::Key(bearer(uri, key)?)))
    }

    /// Likewise, with what gets a key or token, and is asked again when one is no
    /// longer good.
    pub fn with_credentials<F, E>(
        server: &str,
        credentials: impl Fn() -> F + Send + Sync + 'static,
    ) -> Result<Self, Error>
    where
        F: Future<Output = Result<String, E>> + Send + 'static,
        E: fmt::Display,
    {
        Self::with(server, |_| {
            Ok(Credential::Provider(Box::new(move || {
                let given = credentials();
                Box::pin(async move { given.await.map_err(|error| error.to_string()) })
            })))
        })
    }

    fn with(
        server: &str,
        credential: impl FnOnce(&Uri) -> Result<Credential, Error>,
    ) -> Result<Self, Error> {
        let address = || Error::Address(server.to_owned());
        let uri: Uri = server.parse().map_err(|_| address())?;
        let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_known || uri.host().is_none() || uri.path() != "/" || uri.query().is_some() {
            return Err(address());
        }
        Ok(Self(Arc::new(Shared {
            server: server.trim_end_matches('/').to_owned(),
            credential: credential(&uri)?,
            uri,
            http: OnceLock::new(),
        })))
    }

    /// A notification that is sent by its method `send`.
    pub fn notify(&self, message: impl Into<String>) -> Notify<'_> {
        let event = json!({"type": "notification", "message": message.into()});
        Notify {
            client: self,
            event: match event {
                Value::Object(event) => event,
                _ => unreachable!("it is written as an object"),
            },
        }
    }

    /// Publishes an event, or an array of up to 1,000, all or none: the answer of
    /// `POST /v1/events`. Then they are committed.
    pub async fn publish(&self, events: &Value) -> Result<Value, Error> {
        self.ask(Method::POST, "/v1/events", Some(events)).await
    }

    /// Acknowledges events as a client.
    pub async fn acknowledge(&self, client: &str, event_ids: &[&str]) -> Result<Value, Error> {
        let path = format!("/v1/clients/{}/acks", encode(client));
        let body = json!({"event_ids": event_ids});
        self.ask(Method::POST, &path, Some(&body)).await
    }

    /// Says how far a task is: the fields of `PUT /v1/tasks/{task_id}`.
    pub async fn report(&self, task: &str, report: &Value) -> Result<Value, Error> {
        let path = format!("/v1/tasks/{}", encode(task));
        self.ask(Method::PUT, &path, Some(report)).await
    }

    /// A task that is yours to report of. Begins with the next report.
    pub fn task(&self, name: impl Into<String>, total_steps: Option<u64>) -> TaskReporter {
        TaskReporter::new(self.clone(), name.into(), total_steps)
    }

    /// Receives events, from now on or from where the options say. Nothing is
    /// asked for before the first [`Stream::next`].
    pub fn stream(&self, options: StreamOptions) -> Stream {
        Stream::new(self.clone(), options)
    }

    /// Asks for anything: the answer's JSON, null if it has none.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut asked = self.ask_once(method.clone(), path, &body).await;
        let is_unauthorized = |asked: &Result<_, Error>| {
            asked
                .as_ref()
                .is_err_and(|error| error.kind() == RefusalKind::Unauthorized)
        };
        if self.can_renew() && is_unauthorized(&asked) {
            asked = self.ask_once(method, path, &body).await;
        }
        asked
    }

    async fn ask_once(&self, method: Method, path: &str, body: &str) -> Result<Value, Error> {
        let request = self.request(method, path, body.to_owned()).await?;
        let answer = self.send(request).await?;
        let status = answer.status();
        if !status.is_success() {
            return Err(self.refusal(answer).await);
        }
        let body = tokio::time::timeout(TIMEOUT, read(answer.into_body())).await;
        let body = body.map_err(|_| self.unreachable("the answer did not end"))?;
        let body = body.map_err(|reason| self.unreachable(reason))?;
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Opens a stream, once.
    pub(crate) async fn open(
        &self,
        path: &str,
        after: Option<&str>,
    ) -> Result<Response<Incoming>, Error> {
        let mut request = self.request(Method::GET, path, String::new()).await?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(after) = after {
            let after = HeaderValue::from_str(after);
            let after = after.map_err(|_| Error::Address(path.to_owned()))?;
            headers.insert("last-event-id", after);
        }
        let answer = self.send(request).await?;
        if !answer.status().is_success() {
            return Err(self.refusal(answer).await);
        }
        let content_type = answer.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|it| it.to_str().ok());
        let content_type = content_type.unwrap_or("nothing");
        match content_type.starts_with("text/event-stream") {
            true => Ok(answer),
            false => Err(Error::Refused(Refusal {
                detail: format!("the answer is no event stream, but {content_type}"),
                ..Refusal::read(answer.status().as_u16(), None, b"")
            })),
        }
    }

    /// Whether another credential can be had when one is no longer good.
    pub(crate) fn can_renew(&self) -> bool {
        matches!(self.0.credential, Credential::Provider(_))
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.0.server))
            .header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::new(Bytes::from(body)));
        let mut request = request.map_err(|error| self.unreachable(error))?;
        let authorization = match &self.0.credential {
            Credential::None => return Ok(request),
            Credential::Key(key) => key.clone(),
            Credential::Provider(provider) => {
                let key = provider().await.map_err(Error::NoCredential)?;
                bearer(&self.0.uri, &key)?
            }
        };
        request.headers_mut().insert(AUTHORIZATION, authorization);
        Ok(request)
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        let http = match self.0.http.get() {
            Some(http) => http,
            None => {
                let made = http_client(&self.0.uri).map_err(Error::NoRoots)?;
                self.0.http.get_or_init(|| made)
            }
        };
        let answered = tokio::time::timeout(TIMEOUT, http.request(request)).await;
        let answered = answered.map_err(|_| self.unreachable("no answer within 30 seconds"))?;
        answered.map_err(|error| self.unreachable(causes(&error)))
    }

    async fn refusal(&self, answer: Response<Incoming>) -> Error {
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(RETRY_AFTER).cloned();
        let retry_after = retry_after.as_ref().and_then(|it| it.to_str().ok());
        let body = tokio::time::timeout(TIMEOUT, read(answer.into_body())).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        Error::Refused(Refusal::read(status, retry_after, &body))
    }

    fn unreachable(&self, reason: impl fmt::Display) -> Error {
        Error::Unreachable {
            server: self.0.server.clone(),
            reason: reason.to_string(),
        }
    }
}

async fn read(body: Incoming) -> Result<Bytes, String> {
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    Ok(body.map_err(|error| error.to_string())?.to_bytes())
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.0.server).finish()
    }
}

/// A notification that is being written.
#[derive(Debug)]
#[must_use = "it is published by send"]
pub struct Notify<'a> {
    client: &'a Client,
    event: Map<String, Value>,
}

impl Notify<'_> {
    /// Where.
    pub fn topic(self, topic: &str) -> Self {
        self.field("topic", topic)
    }

    /// `info`, `success`, `warning` or `error`.
    pub fn kind(self, kind: &str) -> Self {
        self.field("notification_type", kind)
    }

    /// Any field that a notification may have.
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.event.insert(name.to_owned(), value.into());
        self
    }

    /// Publishes it. Then it is committed.
    pub async fn send(self) -> Result<Value, Error> {
        self.client.publish(&Value::Object(self.event)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_of_a_server() {
        for good in ["http://127.0.0.1:8005", "https://events.example.com/"] {
            assert!(Client::with_key(good, "ntf_x").is_ok(), "{good}");
        }
        for wrong in [
            "",
            "127.0.0.1:8005",
            "ftp://a",
            "http://a/mcp",
            "http://a/?b",
        ] {
            assert!(
                matches!(Client::new(wrong), Err(Error::Address(_))),
                "{wrong}"
            );
        }
        let client = Client::with_key("https://a", "s3cret").unwrap();
        assert!(!format!("{client:?}").contains("s3cret"));
        assert!(matches!(
            Client::with_key("http://[::1]:8005", "a\nb"),
            Err(Error::Key)
        ));
        let clear = Client::with_key("http://events.example.com", "s3cret").unwrap_err();
        assert!(matches!(clear, Error::Clear(_)));
        assert!(!clear.to_string().contains("s3cret"));
        assert!(Client::new("http://events.example.com").is_ok());
    }
}
