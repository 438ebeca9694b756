use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use notification_event::Draft;
use notification_event::schema::{and, object, reference};
use notification_hub::Caller;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::http::MAX_BODY;
use crate::problem::Problem;
use crate::publish::Answer;

/// What such a body, and its answer, is.
pub(crate) const MEDIA_TYPE: &str = "application/x-ndjson";

/// The most lines in one request.
const MAX_LINES: usize = 10_000;

/// How many events are on their way to the log at once: they share commits.
const AT_ONCE: usize = 512;

/// The answer to one line: what became of its event.
#[derive(Serialize)]
struct LineAnswer {
    /// Which line, counted from 1.
    line: usize,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Published {
        status: u16,
        #[serde(flatten)]
        answer: Answer,
    },
    Refused(Problem),
}

/// Of the lines together, each of which is one element.
pub(crate) fn schema() -> Value {
    let description = format!("Up to {MAX_LINES} are read");
    json!({"description": description, "type": "array", "items": reference("Draft")})
}

/// Of the lines of the answer.
pub(crate) fn answer_schema() -> Value {
    let line = json!({"line": {"type": "integer", "minimum": 1}});
    let status = json!({"status": {"enum": [200, 201]}});
    let published = and(line.clone(), and(status, Answer::properties()));
    let published = object(
        published,
        &[&["line", "status"][..], &Answer::REQUIRED].concat(),
    );
    let refused = and(line, Problem::properties());
    let refused = object(refused, &[&["line"][..], &Problem::REQUIRED].concat());
    json!({"type": "array", "items": {"oneOf": [published, refused]}})
}

/// Publishes one event for each line, and answers each as it is done.
///
/// The lines go on being read whether or not the answers are: most clients
/// write all they have before they read, and each would wait for the other. So
/// the channel of answers is unbounded; it holds at most one for each line.
pub(crate) fn publish(caller: Caller, body: Body, timeout: Duration) -> Response {
    let (answers, answered) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let lines = Lines::new(body, timeout);
        let outcomes = stream::unfold(lines, async |mut lines| {
            let line = lines.next().await?;
            Some((line, lines))
        });
        let published = outcomes.map(|(line, text)| {
            let caller = caller.clone();
            async move {
                match text {
                    Ok(text) => (line, publish_line(&caller, &text).await),
                    Err(problem) => (line, Err(problem)),
                }
            }
        });
        let mut published = std::pin::pin!(published.buffered(AT_ONCE));
        while let Some((line, outcome)) = published.next().await {
            // Whoever does not wait for the answer has sent its events all the same.
            let _ = answers.send(write(line, outcome));
        }
    });
    let lines = stream::unfold(answered, async |mut answered| {
        let line = answered.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(line), answered))
    });
    let headers = [(header::CONTENT_TYPE, MEDIA_TYPE)];
    (headers, Body::from_stream(lines)).into_response()
}

async fn publish_line(caller: &Caller, text: &[u8]) -> Result<Answer, Problem> {
    let value: Value = serde_json::from_slice(text)
        .map_err(|error| Problem::bad_request(format!("the line is not JSON: {error}")))?;
    let draft = Draft::parse(value).map_err(Problem::unprocessable)?;
    Ok(caller.publish_one(draft).await?.into())
}

fn write(line: usize, outcome: Result<Answer, Problem>) -> Bytes {
    let outcome = match outcome {
        Ok(answer) => Outcome::Published {
            status: answer.status().as_u16(),
            answer,
        },
        Err(problem) => Outcome::Refused(problem),
    };
    let answer = LineAnswer { line, outcome };
    let mut json = serde_json::to_vec(&answer).expect("strings and numbers");
    json.push(b'\n');
    json.into()
}

/// The lines of a body, as they come.
struct Lines {
    body: BodyDataStream,
    /// How long to wait for more of it.
    timeout: Duration,
    buffer: BytesMut,
    /// How much of the buffer was searched for the end of a line.
    searched: usize,
    line: usize,
    ended: bool,
}

impl Lines {
    fn new(body: Body, timeout: Duration) -> Self {
        Self {
            body: body.into_data_stream(),
            timeout,
            buffer: BytesMut::new(),
            searched: 0,
            line: 0,
            ended: false,
        }
    }

    /// The next line that is not empty, and its number. After a refusal there
    /// are no more.
    async fn next(&mut self) -> Option<(usize, Result<Bytes, Problem>)> {
        loop {
            while let Some(text) = self.take_line() {
                if text.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                if self.line > MAX_LINES {
                    let detail =
                        format!("there are more than {MAX_LINES} lines; the rest is not read");
                    return Some(self.refuse(self.line, StatusCode::PAYLOAD_TOO_LARGE, detail));
                }
                return Some((self.line, Ok(text)));
            }
            if self.ended {
                return None;
            }
            let line = self.line + 1;
            if self.buffer.len() > MAX_BODY {
                let detail =
                    format!("the line is larger than {MAX_BODY} bytes; the rest is not read");
                return Some(self.refuse(line, StatusCode::PAYLOAD_TOO_LARGE, detail));
            }
            match tokio::time::timeout(self.timeout, self.body.next()).await {
                Ok(Some(Ok(data))) => self.buffer.extend_from_slice(&data),
                Ok(None) => self.ended = true,
                Ok(Some(Err(error))) => {
                    let detail = format!("the body broke off: {error}");
                    return Some(self.refuse(line, StatusCode::BAD_REQUEST, detail));
                }
                Err(_) => {
                    let detail = format!("nothing came for {} s", self.timeout.as_secs());
                    return Some(self.refuse(line, StatusCode::REQUEST_TIMEOUT, detail));
                }
            }
        }
    }

    /// Takes a line that is whole, or what is left at the end.
    fn take_line(&mut self) -> Option<Bytes> {
        let unsearched = &self.buffer[self.searched..];
        let end = unsearched.iter().position(|byte| *byte == b'\n');
        let line = match end {
            Some(end) => {
                let line = self.buffer.split_to(self.searched + end);
                self.buffer.advance(1);
                line
            }
            None if self.ended && !self.buffer.is_empty() => self.buffer.split(),
            None => {
                self.searched = self.buffer.len();
                return None;
            }
        };
        self.searched = 0;
        self.line += 1;
        Some(line.freeze())
    }

    fn refuse(
        &mut self,
        line: usize,
        status: StatusCode,
        detail: String,
    ) -> (usize, Result<Bytes, Problem>) {
        self.ended = true;
        self.buffer.clear();
        self.searched = 0;
        (line, Err(Problem::new(status, detail)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    async fn lines(chunks: &[&str]) -> Vec<(usize, Result<String, u16>)> {
        let chunks: Vec<_> = chunks
            .iter()
            .map(|c| Ok::<_, std::io::Error>(c.to_string()))
            .collect();
        let mut lines = Lines::new(Body::from_stream(stream::iter(chunks)), TIMEOUT);
        let mut all = Vec::new();
        while let Some((line, text)) = lines.next().await {
            let text = text.map(|text| String::from_utf8(text.into()).unwrap());
            all.push((
                line,
                text.map_err(|problem| problem.into_response().status().as_u16()),
            ));
        }
        all
    }

    #[tokio::test]
    async fn lines_are_found_however_they_come() {
        let expected = vec![(1, Ok("one".to_owned())), (3, Ok("three".to_owned()))];
        assert_eq!(lines(&["one\n\nthree\n"]).await, expected);
        assert_eq!(lines(&["on", "e", "\n", "\r\nthr", "ee"]).await, expected);
        assert_eq!(lines(&[]).await, []);
    }

    #[tokio::test]
    async fn there_is_an_end_to_everything() {
        let too_many = "x\n".repeat(MAX_LINES + 5);
        let all = lines(&[&too_many]).await;
        assert_eq!(all.len(), MAX_LINES + 1);
        assert_eq!(all[MAX_LINES], (MAX_LINES + 1, Err(413)));
        let too_long = "x".repeat(MAX_BODY + 1);
        assert_eq!(
            lines(&["a\n", &too_long, "\nb\n"]).await[1..],
            [(2, Err(413))]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_wait() {
        let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let mut lines = Lines::new(silent, TIMEOUT);
        let (_, refused) = lines.next().await.unwrap();
        assert_eq!(
            refused.unwrap_err().into_response().status(),
            StatusCode::REQUEST_TIMEOUT
        );
        assert!(lines.next().await.is_none());
    }
}
