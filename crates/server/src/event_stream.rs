use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
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

/// The events of a `text/event-stream` (WHATWG HTML, section 9.2).
#[derive(Debug)]
pub(crate) struct Events {
    body: Body,
    lines: Lines,
    data: Vec<u8>,
    /// The newest id that an event had, also one without data.
    last_id: Option<String>,
    next_id: Option<String>,
    /// How long to wait before coming back, as the server wants it.
    retry: Option<Duration>,
}

impl Events {
    pub(crate) fn of(body: Body) -> Self {
        Self {
            body,
            lines: Lines::default(),
            data: Vec::new(),
            last_id: None,
            next_id: None,
            retry: None,
        }
    }

    /// Where to resume.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    pub(crate) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// The data of the next event that has some; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            while let Some(line) = self.lines.next() {
                if let Some(data) = self.take(&line) {
                    return Ok(Some(data));
                }
            }
            let already = self.data.len() + self.lines.len();
            let Some(bytes) = more(&mut self.body, already).await? else {
                return Ok(None);
            };
            self.lines.push(&bytes);
        }
    }

    /// Takes a line; the data of the event that it ends.
    fn take(&mut self, line: &[u8]) -> Option<Bytes> {
        if line.is_empty() {
            if let Some(id) = self.next_id.take() {
                self.last_id = Some(id);
            }
            let mut data = std::mem::take(&mut self.data);
            data.pop();
            return (!data.is_empty()).then(|| data.into());
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let text = || std::str::from_utf8(value).ok();
        match field {
            b"data" => {
                self.data.extend(value);
                self.data.push(b'\n');
            }
            b"id" if !value.contains(&0) => self.next_id = text().map(str::to_owned),
            b"retry" => {
                let millis = text().and_then(|text| text.parse().ok());
                self.retry = millis.map(Duration::from_millis).or(self.retry);
            }
            _ => {}
        }
        None
    }
}

/// What has come of a text, line by line: they end with CR, LF or both.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    /// Up to where there is no end of a line.
    searched: usize,
    /// The last line ended with a CR, so that an LF belongs to it.
    after_cr: bool,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.after_cr && !self.bytes.is_empty() {
            self.after_cr = false;
            if self.bytes[0] == b'\n' {
                self.bytes.remove(0);
            }
        }
        let rest = &self.bytes[self.searched..];
        let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
            self.searched = self.bytes.len();
            return None;
        };
        let end = self.searched + end;
        let mut line: Vec<u8> = self.bytes.drain(..=end).collect();
        self.searched = 0;
        self.after_cr = line.pop() == Some(b'\r');
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    async fn read(text: &str) -> (Vec<String>, Events) {
        let body = Full::new(Bytes::from(text.to_owned()));
        let mut events = Events::of(body.map_err(Into::into).boxed_unsync());
        let mut all = Vec::new();
        while let Some(data) = events.next().await.unwrap() {
            all.push(String::from_utf8(data.into()).unwrap());
        }
        (all, events)
    }

    #[tokio::test]
    async fn events_are_read_as_they_are_meant() {
        let text = "retry: 70\n:\n\nid: a-1\ndata: one\n\ndata:two\r\ndata: lines\r\n\r\nid: a-2\ndata:\n\nevent: x\rdata: cr\r\rid: a-3\ndata: cut off";
        let (all, events) = read(text).await;
        assert_eq!(all, ["one", "two\nlines", "cr"]);
        assert_eq!(events.last_id(), Some("a-2"));
        assert_eq!(events.retry(), Some(Duration::from_millis(70)));
    }

    #[test]
    fn lines_may_come_in_pieces() {
        let text = b"a\r\nb\n\r\rc\n";
        let mut all = Vec::new();
        let mut lines = Lines::default();
        for byte in text {
            lines.push(&[*byte]);
            all.extend(std::iter::from_fn(|| lines.next()));
        }
        let expected: [&[u8]; 5] = [b"a", b"b", b"", b"", b"c"];
        assert_eq!(all, expected);
    }
}
