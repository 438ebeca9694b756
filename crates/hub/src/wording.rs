use std::fmt::Debug;

use bytes::BytesMut;
use notification_event::Status;

use crate::Frame;

/// How a stream says what it says, where that is not the plain way: as messages
/// of another protocol, each the `data` of a server-sent event.
pub trait Wording: Debug + Send + Sync {
    /// Writes what is said for an event, on one line.
    fn event(&self, frame: &Frame, line: &mut BytesMut);

    /// What is said of the stream itself, on one line; none if nothing is. `json`
    /// is how the plain stream says it.
    fn status(&self, status: &Status, json: &str) -> Option<String>;

    /// Whether a place in the log may be told in an event with empty `data`.
    /// Clients that take no heed of an `id` without `data` need that.
    fn tells_cursor_with_data(&self) -> bool;
}

/// How a stream that another protocol asks for is opened. It travels among the
/// extensions of the request.
#[derive(Clone, Debug)]
pub struct StreamOrder {
    /// The word for it among connections.
    pub transport: &'static str,
    /// How it says what it says.
    pub wording: &'static dyn Wording,
    /// Where it begins, if the request does not say.
    pub start: crate::Start,
    /// Has a say in it.
    pub control: std::sync::Arc<crate::StreamControl>,
}
