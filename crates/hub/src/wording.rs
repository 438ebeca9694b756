use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use notification_event::{Cursor, Filter, Status};

use crate::Frame;

/// How a stream says what it says, where that is not the plain way: as messages
/// of another protocol, each the `data` of a server-sent event.
pub trait Wording: Debug + Send + Sync {
    /// Writes what is said for an event, on one line. False if nothing is said for
    /// it, and then nothing was written.
    fn event(&self, frame: &Frame, line: &mut BytesMut) -> bool;

    /// About how many bytes that takes.
    fn size(&self, frame: &Frame) -> usize {
        frame.chunk().len() + 128
    }

    /// What is said of the stream itself, on one line; none if nothing is. `json`
    /// is how the plain stream says it.
    fn status(&self, status: &Status, json: &str) -> Option<String>;

    /// What is said before everything else, of a stream that begins after `cursor`,
    /// if it is not that it is connected.
    fn opening(&self, cursor: Cursor) -> Option<String> {
        let _ = cursor;
        None
    }

    /// What is said when nothing else is, if it is not a comment.
    fn heartbeat(&self, cursor: Cursor) -> Option<String> {
        let _ = cursor;
        None
    }

    /// After how long nothing is to be said, if that is sooner than on other streams.
    fn silence(&self) -> Option<Duration> {
        None
    }

    /// Whether events have ids, which are places in the log.
    fn has_ids(&self) -> bool {
        true
    }

    /// Whether a place in the log may be told in an event with empty `data`.
    /// Clients that take no heed of an `id` without `data` need that.
    fn tells_cursor_with_data(&self) -> bool {
        false
    }

    /// Whether many streams say it so, with this same wording.
    fn is_shared(&self) -> bool {
        true
    }
}

/// How a stream that another protocol asks for is opened. It travels among the
/// extensions of the request.
#[derive(Clone, Debug)]
pub struct StreamOrder {
    /// The word for it among connections.
    pub transport: &'static str,
    /// How it says what it says.
    pub wording: Arc<dyn Wording>,
    /// Where it begins, if the request does not say.
    pub start: crate::Start,
    /// What it wants, if it is not for the request to say.
    pub filter: Option<Filter>,
    /// Has a say in it.
    pub control: Arc<crate::StreamControl>,
}
