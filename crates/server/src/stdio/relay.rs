use std::time::Duration;

use bytes::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use notification_mcp::Body;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::bridge::Bridge;
use super::failure::Failure;
use super::message::Message;
use super::requests::Running;
use super::session::Session;
use crate::event_stream::{Broken, Events, whole};

const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const STREAM: &str = "text/event-stream";

/// How long the rest of an answer is asked for, when its stream broke, and how
/// long to wait in between.
const RESUME_FOR: Duration = Duration::from_secs(10);
const RESUME_AFTER: Duration = Duration::from_millis(250);

impl Bridge {
    /// A message, as the server takes it.
    pub(super) fn post(
        message: &Message,
        session: Option<&Session>,
    ) -> Result<Request<Bytes>, Failure> {
        let mut request = post_json(message.json.clone());
        let headers = request.headers_mut();
        match session {
            Some(session) => session.add_headers(headers),
            None if message.names_version() => message.add_headers(headers)?,
            None => {}
        }
        Ok(request)
    }

    /// Puts out what a request was answered with, up to its answer.
    pub(super) async fn relay(
        &self,
        response: Response<Body>,
        message: &Message,
        session: Option<&Session>,
        running: &Running,
    ) -> Result<(), Failure> {
        if !is_stream(&response) {
            let answer = self.whole(response, &message.id).await?;
            running.has_ended();
            self.output.send(answer).await;
            return Ok(());
        }
        let mut events = Events::of(response.into_body());
        let mut place = None;
        loop {
            match self.relay_events(&mut events, message, running).await? {
                true => return Ok(()),
                // To what was cancelled nobody expects an answer.
                false if running.is_cancelled() => return Ok(()),
                false => {}
            }
            place = events.last_id().map(str::to_owned).or(place);
            let Some((session, place)) = session.zip(place.as_deref()) else {
                return Err(self.broke_off());
            };
            events = self.resume(session, place).await?;
        }
    }

    /// Puts out the messages of a stream, up to the answer; whether that came.
    async fn relay_events(
        &self,
        events: &mut Events,
        message: &Message,
        running: &Running,
    ) -> Result<bool, Failure> {
        loop {
            match events.next().await {
                Ok(Some(data)) => {
                    let line = self.line(data)?;
                    let is_answer = is_answer(&line, &message.id);
                    if is_answer {
                        running.has_ended();
                    }
                    self.output.send(line).await;
                    if is_answer {
                        return Ok(true);
                    }
                }
                Ok(None) => return Ok(false),
                Err(error) => {
                    tracing::debug!(%error, "a stream broke");
                    return Ok(false);
                }
            }
        }
    }

    /// The rest of a stream of a session (revision 2025-11-25, Streamable HTTP,
    /// "Resumability and Redelivery").
    async fn resume(&self, session: &Session, place: &str) -> Result<Events, Failure> {
        let deadline = Instant::now() + RESUME_FOR;
        loop {
            sleep(RESUME_AFTER).await;
            let response = self.server.send(get(session, Some(place))).await;
            match response {
                Ok(response) if is_stream(&response) => {
                    return Ok(Events::of(response.into_body()));
                }
                // It is not kept, or its session is not there any more.
                Ok(response) if response.status().is_client_error() => {
                    return Err(self.broke_off());
                }
                Ok(response) => tracing::debug!(status = %response.status(), "not resumed"),
                Err(failure) => tracing::debug!(%failure, "not resumed"),
            }
            if Instant::now() > deadline {
                return Err(self.broke_off());
            }
        }
    }

    /// The one message that a request was answered with, as a line. Refusals of
    /// what is in front of the endpoint do not know which request they are for.
    pub(super) async fn whole(
        &self,
        response: Response<Body>,
        id: &Value,
    ) -> Result<Bytes, Failure> {
        let status = response.status();
        let body = whole(response.into_body())
            .await
            .map_err(|broken| match broken {
                Broken::Lost(_) => self.broke_off(),
                Broken::TooLarge => Failure::no_answer(broken.to_string()),
            })?;
        let answer = serde_json::from_slice(&body).ok();
        let answer = answer.filter(|answer: &Value| answer.get("jsonrpc").is_some());
        let mut answer = answer.ok_or_else(|| {
            let name = self.server.name();
            Failure::no_answer(format!("{name} answered {status}, without an MCP message"))
        })?;
        match status.is_success() && !body.contains(&b'\n') {
            true => Ok(body),
            false => {
                if answer["id"].is_null() {
                    answer["id"] = id.clone();
                }
                Ok(answer.to_string().into())
            }
        }
    }

    /// A message of a stream on one line.
    pub(super) fn line(&self, data: Bytes) -> Result<Bytes, Failure> {
        let message: Value = serde_json::from_slice(&data).map_err(|_| {
            let name = self.server.name();
            Failure::no_answer(format!("{name} says something on a stream that is no JSON"))
        })?;
        match data.contains(&b'\n') {
            true => Ok(message.to_string().into()),
            false => Ok(data),
        }
    }

    fn broke_off(&self) -> Failure {
        let name = self.server.name();
        Failure::no_answer(format!(
            "{name} broke off before the answer; what was asked for may have been done"
        ))
    }
}

/// A POST of a message, to which nothing has been added.
pub(super) fn post_json(json: Bytes) -> Request<Bytes> {
    let mut request = Request::new(json);
    *request.method_mut() = Method::POST;
    let headers = request.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(CONTENT_TYPE, json);
    headers.insert(ACCEPT, BOTH);
    request
}

/// A GET of a session: its stream, or what follows this place.
pub(super) fn get(session: &Session, place: Option<&str>) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static(STREAM));
    session.add_headers(headers);
    let place = place.and_then(|place| HeaderValue::from_str(place).ok());
    if let Some(place) = place {
        headers.insert("last-event-id", place);
    }
    request
}

/// Whether the answer is a `text/event-stream`.
pub(super) fn is_stream(response: &Response<Body>) -> bool {
    let media_type = response.headers().get(CONTENT_TYPE);
    response.status() == StatusCode::OK
        && media_type.is_some_and(|value| value.as_bytes().starts_with(STREAM.as_bytes()))
}

/// Whether a message is the answer to the request with this id.
fn is_answer(message: &[u8], id: &Value) -> bool {
    let message: Value = serde_json::from_slice(message).unwrap_or_default();
    message.get("method").is_none() && message["id"] == *id
}
