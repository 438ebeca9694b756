use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use notification_client::SseParser;
use notification_mcp::Body;

/// The largest answer, or event of a stream, that is read, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// A stream that cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error("the answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
}

/// All of a body.
pub(crate) async fn whole(mut body: Body) -> Result<Bytes, Broken> {
    let mut bytes = BytesMut::new();
    while let Some(data) = more(&mut body, bytes.len()).await? {
        bytes.put(data);
    }
    Ok(bytes.freeze())
}

/// What comes next of a body of which there are so many bytes already; none at its end.
async fn more(body: &mut Body, already: usize) -> Result<Option<Bytes>, Broken> {
    let Some(frame) = body.frame().await else {
        return Ok(None);
    };
    let frame = frame.map_err(|error| Broken::Lost(error.to_string()))?;
    let data = frame.into_data().unwrap_or_default();
    match already + data.len() > MAX_ANSWER {
        true => Err(Broken::TooLarge),
        false => Ok(Some(data)),
    }
}

/// The events of a `text/event-stream`.
#[derive(Debug)]
pub(crate) struct Events {
    body: Body,
    parser: SseParser,
}

impl Events {
    pub(crate) fn of(body: Body) -> Self {
        Self {
            body,
            parser: SseParser::default(),
        }
    }

    /// Where to resume.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.parser.last_event_id()
    }

    pub(crate) fn retry(&self) -> Option<Duration> {
        self.parser.retry()
    }

    /// The data of the next event that has some; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            if let Some(message) = self.parser.next_message() {
                return Ok(Some(message.data.into()));
            }
            let Some(bytes) = more(&mut self.body, self.parser.held()).await? else {
                return Ok(None);
            };
            self.parser.push(&bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn events_are_read_as_they_are_meant() {
        let text = "retry: 70\n:\n\nid: a-1\ndata: one\n\ndata:two\r\n\r\nid: a-3\ndata: cut off";
        let body = Full::new(Bytes::from(text));
        let mut events = Events::of(body.map_err(Into::into).boxed_unsync());
        assert_eq!(events.next().await.unwrap().unwrap(), "one");
        assert_eq!(events.next().await.unwrap().unwrap(), "two");
        assert!(events.next().await.unwrap().is_none());
        assert_eq!(events.last_id(), Some("a-1"));
        assert_eq!(events.retry(), Some(Duration::from_millis(70)));
    }
}
