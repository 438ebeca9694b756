use std::sync::{Arc, LazyLock};

use bytes::{BufMut, BytesMut};
use notification_event::Status;
use notification_hub::{Frame, Wording};

use super::level::Level;

/// Says events as MCP's log messages, `notifications/message`.
#[derive(Debug)]
pub(crate) struct LogMessages {
    /// The client takes an event without data (revision 2025-11-25, Streamable
    /// HTTP, "Sending Messages to the Server"). Those of older ones would look
    /// for a message in it.
    takes_empty_data: bool,
}

/// For clients of this revision or a later one.
const FIRST_THAT_TAKES_EMPTY_DATA: &str = "2025-11-25";

impl LogMessages {
    /// For a client that speaks `version`.
    pub(crate) fn of(version: &str) -> Arc<Self> {
        // One of each kind, so that what they say is put together once.
        static NEW: LazyLock<Arc<LogMessages>> = LazyLock::new(|| LogMessages::new(true));
        static OLD: LazyLock<Arc<LogMessages>> = LazyLock::new(|| LogMessages::new(false));
        match version >= FIRST_THAT_TAKES_EMPTY_DATA {
            true => NEW.clone(),
            false => OLD.clone(),
        }
    }

    fn new(takes_empty_data: bool) -> Arc<Self> {
        Arc::new(Self { takes_empty_data })
    }

    /// Whether the client takes an event without data.
    pub(crate) fn takes_empty_data(&self) -> bool {
        self.takes_empty_data
    }
}

impl Wording for LogMessages {
    fn event(&self, frame: &Frame, line: &mut BytesMut) -> bool {
        message(Level::of(frame.kind()), frame.json(), line);
        true
    }

    fn status(&self, status: &Status, json: &str) -> Option<String> {
        let level = match status {
            // That it is connected, a client knows; that it sees less, it does not.
            Status::Connected { narrowed_to, .. } => narrowed_to.as_ref().map(|_| Level::Notice)?,
            Status::SnapshotComplete { .. } => Level::Debug,
            Status::Conflated { .. } | Status::Closing { .. } => Level::Notice,
            Status::Gap { .. } | Status::Paused { .. } | Status::CredentialExpiring { .. } => {
                Level::Warning
            }
            Status::Unauthorized { .. } => Level::Error,
        };
        let mut line = BytesMut::new();
        message(level, json.as_bytes(), &mut line);
        String::from_utf8(line.into()).ok()
    }

    fn tells_cursor_with_data(&self) -> bool {
        self.takes_empty_data
    }
}

fn message(level: Level, data: &[u8], line: &mut BytesMut) {
    line.put_slice(br#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":""#);
    line.put_slice(level.as_str().as_bytes());
    line.put_slice(br#"","logger":"notifications","data":"#);
    line.put_slice(data);
    line.put_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_matters_of_a_stream_is_said_as_a_message() {
        let said = |status: Status| {
            let json = json!({"type": "status"}).to_string();
            let line = LogMessages::of("2025-06-18").status(&status, &json)?;
            let message: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(message["method"], "notifications/message");
            assert_eq!(message["params"]["data"]["type"], "status");
            Some(message["params"]["level"].as_str().unwrap().to_owned())
        };
        let connected = |narrowed_to| Status::Connected {
            connection_id: "c".into(),
            client_count: 1,
            narrowed_to,
        };
        assert_eq!(said(connected(None)), None);
        assert_eq!(said(connected(Some(vec![]))).unwrap(), "notice");
        assert_eq!(said(Status::Conflated { events: 1 }).unwrap(), "notice");
        let ended = Status::Unauthorized { reason: "r".into() };
        assert_eq!(said(ended).unwrap(), "error");
    }

    #[test]
    fn an_empty_event_is_for_those_who_take_it() {
        assert!(LogMessages::of("2025-11-25").tells_cursor_with_data());
        assert!(!LogMessages::of("2025-06-18").tells_cursor_with_data());
    }
}
