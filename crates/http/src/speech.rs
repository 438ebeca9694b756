use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use notification_event::{Position, Status};
use notification_hub::{Delivery, End, Frame, Subscription, Wording};

use crate::http::Http;

/// What one event stream says (WHATWG HTML, section 9.2), whoever carries it.
#[derive(Debug, Default)]
pub(crate) struct Speech {
    /// The cursor that the client was told last.
    told: Option<Position>,
    /// How it says it, if not the plain way.
    wording: Option<Arc<dyn Wording>>,
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
    /// One that says everything so.
    pub(crate) fn in_words_of(wording: Option<Arc<dyn Wording>>) -> Self {
        Self {
            told: None,
            wording,
        }
    }

    /// How it says events, if not the plain way.
    pub(crate) fn wording(&self) -> Option<&Arc<dyn Wording>> {
        self.wording.as_ref()
    }

    /// After how long nothing it says something, if others do after `heartbeat`.
    pub(crate) fn silence(&self, heartbeat: Duration) -> Duration {
        let own = self.wording.as_ref().and_then(|it| it.silence());
        own.map_or(heartbeat, |own| own.min(heartbeat))
    }

    /// What comes first.
    pub(crate) fn open(&mut self, subscription: &Subscription, http: &Http) -> Bytes {
        let (min, max) = http.config.stream.retry;
        let retry = fastrand::u128(min.as_millis()..=max.as_millis().max(min.as_millis()));
        let connected = Status::Connected {
            connection_id: subscription.id().to_string(),
            client_count: http.hub.connections(),
            narrowed_to: subscription.narrowed().map(<[_]>::to_vec),
        };
        let worded = self.wording.as_ref();
        if let Some(opening) = worded.and_then(|it| it.opening(subscription.cursor())) {
            return format!("data: {opening}\n\n").into();
        }
        let mut opening = format!("retry: {retry}\n{}", self.sse(&connected));
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
                match &self.wording {
                    None => return Said::Events(frames),
                    Some(wording) => worded(&**wording, &frames),
                }
            }
            Delivery::Snapshot(frames) => match &self.wording {
                None => join(frames.iter().map(|f| f.sse_without_id())),
                Some(wording) => frames
                    .iter()
                    .fold(BytesMut::new(), |mut text, frame| {
                        say_event(&**wording, frame, &mut text);
                        text
                    })
                    .freeze(),
            },
            Delivery::Asides(texts) => join(texts.iter().map(|text| &**text)),
            Delivery::SnapshotComplete(events) => {
                let complete = self.sse(&Status::SnapshotComplete { events });
                (complete + &self.tell_cursor(subscription)).into()
            }
            Delivery::Gap { cursor, reason } => {
                let mut gap = self.sse(&Status::Gap { cursor, reason });
                if !subscription.is_before_cursor() {
                    gap += &self.tell_cursor(subscription);
                }
                gap.into()
            }
            Delivery::Conflated(events) => self.sse(&Status::Conflated { events }).into(),
            Delivery::Paused(max_unacknowledged) => {
                self.sse(&Status::Paused { max_unacknowledged }).into()
            }
            Delivery::CredentialExpiring(expires_at) => {
                self.sse(&Status::CredentialExpiring { expires_at }).into()
            }
            Delivery::Ended(End::Administrator) => {
                return self.end("this connection was closed by an administrator");
            }
            Delivery::Ended(End::Unauthorized(lapsed)) => {
                let reason = lapsed.to_string();
                return Said::End(self.sse(&Status::Unauthorized { reason }).into());
            }
            Delivery::Ended(End::Over(reason)) => return self.end(reason),
            Delivery::Closing => return self.end("the server is shutting down"),
            Delivery::Failed(_) => return self.end("the log cannot be read"),
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
        if let (Some(wording), Some(stream)) = (&self.wording, subscription)
            && let Some(said) = wording.heartbeat(stream.cursor())
        {
            self.told = Some(stream.cursor().position);
            return format!("data: {said}\n\n").into();
        }
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
        if self.wording.as_ref().is_some_and(|it| !it.has_ids()) {
            return String::new();
        }
        let worded = self.wording.as_ref();
        let with_data = worded.is_some_and(|it| it.tells_cursor_with_data());
        format!("id: {cursor}\n{}\n", if with_data { "data:\n" } else { "" })
    }

    fn end(&self, reason: &'static str) -> Said {
        Said::End(self.sse(&Status::Closing { reason }).into())
    }

    fn sse(&self, status: &Status) -> String {
        let json = status.to_json(Http::now()).to_string();
        let said = match &self.wording {
            None => Some(json),
            Some(wording) => wording.status(status, &json),
        };
        // Never nothing: an empty chunk would be the last.
        said.map_or_else(|| ":\n\n".to_owned(), |said| format!("data: {said}\n\n"))
    }
}

/// Events in the words of another protocol, each with the cursor that it has.
fn worded(wording: &dyn Wording, frames: &[Arc<Frame>]) -> Bytes {
    let size: usize = frames.iter().map(|frame| wording.size(frame)).sum();
    let mut text = BytesMut::with_capacity(size);
    say_events(wording, frames, &mut text);
    text.freeze()
}

/// The same as one chunk of an HTTP/1.1 body (RFC 9112, section 7.1), made in
/// one piece; empty if nothing is said, as an empty chunk would be the last.
pub(crate) fn worded_chunk(wording: &dyn Wording, frames: &[Arc<Frame>]) -> Bytes {
    /// Of the longest size, and the end of its line.
    const ROOM: usize = 2 * size_of::<usize>() + 2;
    let size: usize = frames.iter().map(|frame| wording.size(frame)).sum();
    let mut chunk = BytesMut::with_capacity(ROOM + size + 2);
    chunk.resize(ROOM, 0);
    say_events(wording, frames, &mut chunk);
    let length = chunk.len() - ROOM;
    if length == 0 {
        return Bytes::new();
    }
    let line = format!("{length:x}\r\n");
    let start = ROOM - line.len();
    chunk[start..ROOM].copy_from_slice(line.as_bytes());
    chunk.extend_from_slice(b"\r\n");
    chunk.freeze().slice(start..)
}

fn say_events(wording: &dyn Wording, frames: &[Arc<Frame>], text: &mut BytesMut) {
    for frame in frames {
        let before = text.len();
        if wording.has_ids() {
            text.extend_from_slice(frame.id_line());
        }
        if !say_event(wording, frame, text) {
            text.truncate(before);
        }
    }
}

fn say_event(wording: &dyn Wording, frame: &Frame, text: &mut BytesMut) -> bool {
    let before = text.len();
    text.extend_from_slice(b"data: ");
    let is_said = wording.event(frame, text);
    match is_said {
        true => text.extend_from_slice(b"\n\n"),
        false => text.truncate(before),
    }
    is_said
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

fn join<'a>(parts: impl Iterator<Item = &'a [u8]> + Clone) -> Bytes {
    let size = parts.clone().map(<[u8]>::len).sum();
    let mut chunk = BytesMut::with_capacity(size);
    parts.for_each(|part| chunk.extend_from_slice(part));
    chunk.freeze()
}
