use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::watch;

use crate::Body;
use crate::body::boxed;

/// After how long a silence a comment is sent, so that both ends see that the
/// connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What begins the ids of its events, by which they are told from those of the log.
const ID: &str = "reply-";

/// What a call is answered with: messages, the last of which is the response.
/// They are kept, so that a client whose connection broke gets the rest
/// (revision 2025-11-25, Streamable HTTP, "Resumability and Redelivery").
#[derive(Debug)]
pub(crate) struct Reply {
    /// No other of the session has, or had, the same.
    number: u64,
    said: watch::Sender<Said>,
}

#[derive(Debug, Default)]
struct Said {
    /// JSON, each on one line.
    messages: Vec<Bytes>,
    /// When there were no more.
    completed_at: Option<Instant>,
}

impl Said {
    fn is_complete(&self) -> bool {
        self.completed_at.is_some()
    }
}

/// Where a client is in a reply: an event's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) number: u64,
    /// How many messages it has.
    had: usize,
}

impl Place {
    /// Reads an event's id; none if it is not one of a reply.
    pub(crate) fn parse(id: &str) -> Option<Self> {
        let (number, had) = id.strip_prefix(ID)?.split_once('.')?;
        Some(Self {
            number: number.parse().ok()?,
            had: had.parse().ok()?,
        })
    }
}

impl Reply {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            number,
            said: watch::Sender::default(),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// One message more.
    pub(crate) fn say(&self, json: Bytes) {
        self.said.send_modify(|said| said.messages.push(json));
    }

    /// There will be no more.
    pub(crate) fn complete(&self) {
        let now = Instant::now();
        self.said.send_modify(|said| said.completed_at = Some(now));
    }

    pub(crate) fn completed_at(&self) -> Option<Instant> {
        self.said.borrow().completed_at
    }

    /// How many bytes it keeps.
    pub(crate) fn size(&self) -> usize {
        self.said.borrow().messages.iter().map(Bytes::len).sum()
    }

    /// Waits for the response, if that comes at once: the only message there is.
    pub(crate) async fn at_once(&self, patience: Duration) -> Option<Bytes> {
        let mut said = self.said.subscribe();
        let something = said.wait_for(|said| said.is_complete() || !said.messages.is_empty());
        let something = tokio::time::timeout(patience, something).await;
        let said = something.ok()?.ok()?;
        match (said.messages.as_slice(), said.is_complete()) {
            ([response], true) => Some(response.clone()),
            _ => None,
        }
    }

    /// The stream of it (WHATWG HTML, section 9.2): from the beginning, before
    /// which a client that `takes_empty_data` is told where to resume.
    pub(crate) fn stream(self: Arc<Self>, takes_empty_data: bool) -> Body {
        let opening = match takes_empty_data {
            true => format!("id: {ID}{}.0\ndata:\n\n", self.number),
            false => ":\n\n".to_owned(),
        };
        self.follow(0, opening)
    }

    /// The stream of what follows this place.
    pub(crate) fn resume(self: Arc<Self>, place: Place) -> Body {
        self.follow(place.had, ":\n\n".to_owned())
    }

    fn follow(self: Arc<Self>, had: usize, opening: String) -> Body {
        let said = self.said.subscribe();
        let reader = Reader {
            reply: self,
            said,
            had,
            opening: Some(opening),
        };
        let texts = stream::unfold(reader, async |mut reader| {
            let text = reader.next().await?;
            Some((Ok::<_, Infallible>(Frame::data(text)), reader))
        });
        boxed(StreamBody::new(texts))
    }
}

struct Reader {
    reply: Arc<Reply>,
    said: watch::Receiver<Said>,
    had: usize,
    opening: Option<String>,
}

impl Reader {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(opening) = self.opening.take() {
            return Some(opening.into());
        }
        loop {
            {
                let said = self.said.borrow_and_update();
                if let Some(message) = said.messages.get(self.had) {
                    self.had += 1;
                    let id = format!("id: {ID}{}.{}\ndata: ", self.reply.number, self.had);
                    return Some([id.as_bytes(), message, b"\n\n"].concat().into());
                }
                if said.is_complete() {
                    return None;
                }
            }
            if tokio::time::timeout(HEARTBEAT, self.said.changed())
                .await
                .is_err()
            {
                return Some(Bytes::from_static(b":\n\n"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn text(body: Body) -> String {
        let bytes = body.collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.into()).unwrap()
    }

    #[tokio::test]
    async fn a_reply_is_resumed_where_it_broke() {
        let reply = Arc::new(Reply::new(7));
        let live = tokio::spawn(text(reply.clone().stream(true)));
        for message in ["a", "b", "c"] {
            reply.say(message.into());
            tokio::task::yield_now().await;
        }
        reply.complete();
        let all = "id: reply-7.0\ndata:\n\nid: reply-7.1\ndata: a\n\nid: reply-7.2\ndata: b\n\n\
                   id: reply-7.3\ndata: c\n\n";
        assert_eq!(live.await.unwrap(), all);
        let place = Place::parse("reply-7.1").unwrap();
        assert_eq!(place.number, 7);
        let rest = text(reply.clone().resume(place)).await;
        assert_eq!(
            rest,
            ":\n\nid: reply-7.2\ndata: b\n\nid: reply-7.3\ndata: c\n\n"
        );
        let end = Place::parse("reply-7.3").unwrap();
        assert_eq!(text(reply.resume(end)).await, ":\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_response_that_comes_at_once_is_no_stream() {
        let patience = Duration::from_millis(50);
        let reply = Reply::new(0);
        assert_eq!(reply.at_once(patience).await, None);
        reply.say("response".into());
        reply.complete();
        assert_eq!(reply.at_once(patience).await.unwrap(), "response");
        let reply = Reply::new(1);
        reply.say("progress".into());
        assert_eq!(reply.at_once(patience).await, None);
    }

    #[test]
    fn other_ids_are_of_other_streams() {
        for id in [
            "",
            "reply-",
            "reply-1",
            "reply-x.1",
            "reply-1.-1",
            "01J-5",
            "reply-1.1.1",
        ] {
            assert_eq!(Place::parse(id), None, "{id}");
        }
    }
}
