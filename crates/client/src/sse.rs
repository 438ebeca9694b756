use std::time::Duration;

/// One event of a `text/event-stream` that has data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its data.
    pub data: Vec<u8>,
    /// Where to resume after it, if that is known.
    pub last_event_id: Option<String>,
}

/// Reads a `text/event-stream` as it comes (WHATWG HTML, section 9.2).
#[derive(Debug, Default)]
pub struct SseParser {
    lines: Lines,
    data: Vec<u8>,
    next_id: Option<String>,
    last_event_id: Option<String>,
    retry: Option<Duration>,
}

impl SseParser {
    /// Takes what has come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.lines.push(bytes);
    }

    /// The next message that is whole.
    pub fn next_message(&mut self) -> Option<Message> {
        while let Some(line) = self.lines.next() {
            if let Some(data) = self.take(&line) {
                return Some(Message {
                    data,
                    last_event_id: self.last_event_id.clone(),
                });
            }
        }
        None
    }

    /// Where to resume: the newest id, also of an event without data.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// How long to wait before coming back, if the server has said so.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// How many bytes it holds of what is not whole.
    #[must_use]
    pub fn held(&self) -> usize {
        self.data.len() + self.lines.bytes.len()
    }

    /// Takes a line; the data of the event that it ends.
    fn take(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        if line.is_empty() {
            if let Some(id) = self.next_id.take() {
                self.last_event_id = Some(id);
            }
            let mut data = std::mem::take(&mut self.data);
            data.pop();
            return (!data.is_empty()).then_some(data);
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
            b"retry" if value.iter().all(u8::is_ascii_digit) => {
                let millis = text().and_then(|text| text.parse().ok());
                self.retry = millis.map(Duration::from_millis).or(self.retry);
            }
            _ => {}
        }
        None
    }
}

/// The byte order mark that may come first.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// What has come of a text, line by line: they end with CR, LF or both.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    /// Up to where there is no end of a line.
    searched: usize,
    /// The last line ended with a CR, so that an LF belongs to it.
    after_cr: bool,
    /// The first line has begun, without the mark.
    has_begun: bool,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        if !self.has_begun && self.bytes.starts_with(MARK) {
            self.bytes.drain(..MARK.len());
        }
        self.has_begun |= !MARK.starts_with(&self.bytes);
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
