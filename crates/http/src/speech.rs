use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use notification_event::{Position, Status};
use notification_hub::{Delivery, End, Frame, Subscription};

use crate::http::Http;

/// What one event stream says (WHATWG HTML, section 9.2), whoever carries it.
#[derive(Debug, Default)]
pub(crate) struct Speech {
    /// The cursor that the client was told last.
    told: Option<Position>,
}

/// What is to be sent.
#[derive(Debug)]
pub(crate) enum Said {
    /// Events, as they are.
    Events(Vec<Arc<Frame>>),
    /// Text.
    Text(Bytes),
    /// Text, and then the stream ends.
    End(Bytes),
}

impl Speech {
    /// What comes first.
    pub(crate) fn open(&mut self, subscription: &Subscription, http: &Http) -> Bytes {
        let (min, max) = http.config.stream.retry;
        let retry = fastrand::u128(min.as_millis()..=max.as_millis().max(min.as_millis()));
        let connected = Status::Connected {
            connection_id: subscription.id().to_string(),
            client_count: http.hub.connections(),
            narrowed_to: subscription.narrowed().map(<[_]>::to_vec),
        };
        let mut opening = format!("retry: {retry}\n{}", sse(&connected));
        if !subscription.is_before_cursor() {
            // Even if nothing is published before the connection breaks, the
            // client then knows where it was.
            opening += &self.tell_cursor(subscription);
        }
        opening.into()
    }

    pub(crate) fn say(&mut self, delivery: Delivery, subscription: &Subscription) -> Said {
        Said::Text(match delivery {
            Delivery::Events(frames) => {
                if let Some(last) = frames.last() {
                    self.told(last.position);
                }
                return Said::Events(frames);
            }
            Delivery::Snapshot(frames) => join(frames.iter().map(|f| f.sse_without_id())),
            Delivery::SnapshotComplete(events) => {
                let complete = sse(&Status::SnapshotComplete { events });
                (complete + &self.tell_cursor(subscription)).into()
            }
            Delivery::Gap { cursor, reason } => {
                let mut gap = sse(&Status::Gap { cursor, reason });
                if !subscription.is_before_cursor() {
                    gap += &self.tell_cursor(subscription);
                }
                gap.into()
            }
            Delivery::Conflated(events) => sse(&Status::Conflated { events }).into(),
            Delivery::Paused(max_unacknowledged) => {
                sse(&Status::Paused { max_unacknowledged }).into()
            }
            Delivery::CredentialExpiring(expires_at) => {
                sse(&Status::CredentialExpiring { expires_at }).into()
            }
            Delivery::Ended(End::Administrator) => {
                return end("this connection was closed by an administrator");
            }
            Delivery::Ended(End::Unauthorized(lapsed)) => {
                let reason = lapsed.to_string();
                return Said::End(sse(&Status::Unauthorized { reason }).into());
            }
            Delivery::Closing => return end("the server is shutting down"),
            Delivery::Failed(_) => return end("the log cannot be read"),
        })
    }

    /// Takes note that the client was sent an event, and with it where it is.
    pub(crate) fn told(&mut self, position: Position) {
        self.told = Some(position);
    }

    /// A comment. If events passed by that this stream did not want, it brings
    /// their cursor along, so that a client that comes back with it does not
    /// have them searched again. None knows no more than that the stream lives.
    pub(crate) fn comment(&mut self, subscription: Option<&Subscription>) -> Bytes {
        match subscription {
            Some(stream) if self.told != Some(stream.cursor().position) => {
                format!(":\n{}", self.tell_cursor(stream)).into()
            }
            _ => Bytes::from_static(b":\n\n"),
        }
    }

    /// An `id:` without `data:` makes no event, and is where the client resumes
    /// (WHATWG HTML, section 9.2.6).
    fn tell_cursor(&mut self, subscription: &Subscription) -> String {
        let cursor = subscription.cursor();
        self.told(cursor.position);
        format!("id: {cursor}\n\n")
    }
}

impl Said {
    /// All of it, in one piece.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Events(frames) => match frames.as_slice() {
                [frame] => frame.sse(),
                frames => join(frames.iter().map(|frame| frame.sse_bytes())),
            },
            Self::Text(text) | Self::End(text) => text,
        }
    }
}

fn end(reason: &'static str) -> Said {
    Said::End(sse(&Status::Closing { reason }).into())
}

fn join<'a>(parts: impl Iterator<Item = &'a [u8]> + Clone) -> Bytes {
    let size = parts.clone().map(<[u8]>::len).sum();
    let mut chunk = BytesMut::with_capacity(size);
    parts.for_each(|part| chunk.extend_from_slice(part));
    chunk.freeze()
}

fn sse(status: &Status) -> String {
    format!("data: {}\n\n", status.to_json(Http::now()))
}
