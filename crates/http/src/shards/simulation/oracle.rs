//! What a stream should have been told, from all that was ever in the log.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use notification_event::{ClientId, Collapse, Cursor, Filter, GroupName, Head, Position};
use serde_json::Value;

use super::super::fake::HEAD;

/// All that has happened, as far as it decides who gets what.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The first is at position 1.
    events: Vec<(Head, Bytes)>,
    /// While a client was in a group: after the one position, up to the other.
    memberships: HashMap<(GroupName, ClientId), Vec<(u64, u64)>>,
}

/// What a stream was opened with.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) filter: Filter,
    pub(super) client: Option<ClientId>,
    pub(super) is_manual: bool,
    pub(super) is_snapshot: bool,
    /// Whether it may have been told of a gap at once.
    pub(super) is_back: bool,
    pub(super) started: u64,
    /// What its client had acknowledged by then, if its place follows that.
    pub(super) acknowledged: BTreeSet<u64>,
}

/// What a reader has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The positions of the events, in order.
    pub(super) events: Vec<u64>,
    /// Where it would resume.
    pub(super) last_id: Option<Cursor>,
    /// How much else it was told, beside heartbeats.
    pub(super) others: usize,
    /// It was told that there will be nothing more, and there was nothing more.
    pub(super) is_ended: bool,
}

impl History {
    pub(super) fn head(&self) -> u64 {
        self.events.len() as u64
    }

    pub(super) fn add(&mut self, position: Position, head: Head, json: Bytes) {
        self.events.push((head, json));
        assert_eq!(self.head(), position.0, "the history has a hole");
    }

    pub(super) fn joined(&mut self, group: GroupName, client: ClientId) {
        let spans = self.memberships.entry((group, client)).or_default();
        spans.push((self.events.len() as u64, u64::MAX));
    }

    pub(super) fn left(&mut self, group: GroupName, client: ClientId) {
        let spans = self.memberships.get_mut(&(group, client)).unwrap();
        spans.last_mut().unwrap().1 = self.events.len() as u64;
    }

    pub(super) fn event(&self, position: u64) -> &Head {
        &self.events[position as usize - 1].0
    }

    fn is_for(&self, position: u64, client: Option<&ClientId>) -> bool {
        let Some(audience) = &self.event(position).audience else {
            return true;
        };
        client.is_some_and(|client| {
            let mut groups = audience.named_groups().iter();
            audience.named_clients().contains(client)
                || groups.any(|group| {
                    let spans = self.memberships.get(&(group.clone(), client.clone()));
                    let mut spans = spans.into_iter().flatten();
                    spans.any(|(after, through)| *after < position && position <= *through)
                })
        })
    }

    /// Whether a stream wants an event, unless a newer one has its place.
    pub(super) fn is_wanted(&self, position: u64, terms: &Terms) -> bool {
        let head = self.event(position);
        // What expires here has expired when it is published.
        head.expires_at.is_none()
            && terms.filter.matches(head)
            && self.is_for(position, terms.client.as_ref())
            && !terms.acknowledged.contains(&position)
    }

    /// Whether a newer event may have taken the place of one.
    pub(super) fn is_superseded(&self, position: u64, terms: &Terms) -> bool {
        let old = self.event(position);
        let Filter {
            types,
            names,
            min_priority,
            tags,
            ..
        } = &terms.filter;
        let wants_any =
            types.is_empty() && names.is_empty() && min_priority.is_none() && tags.is_empty();
        matches!(old.collapse, Some(Collapse::Key(_)))
            && wants_any
            && (position + 1..=self.head()).any(|newer| {
                let new = self.event(newer);
                (&new.topic, &new.collapse, &new.audience)
                    == (&old.topic, &old.collapse, &old.audience)
                    && self.is_for(newer, terms.client.as_ref())
            })
    }

    /// Reads what a socket took. Panics if that is not what it should have been.
    /// If it is to be complete, the stream has had everything.
    pub(super) fn judge(&self, terms: &Terms, taken: &[u8], is_complete: bool) -> Seen {
        let body = Body::read(taken);
        let mut reader = Reader {
            history: self,
            terms,
            seen: Seen::default(),
            at: terms.started,
            told: 0,
            missed: 0,
            conflated: 0,
            has_gap: false,
            snapshot: terms.is_snapshot.then_some(0),
        };
        let mut blocks = body.text.split_inclusive("\n\n").peekable();
        while let Some(block) = blocks.next() {
            match block.ends_with("\n\n") {
                true => reader.block(block),
                false => assert!(body.is_cut && blocks.peek().is_none(), "{block:?}"),
            }
        }
        assert!(reader.seen.is_ended || !body.is_over, "the end, unsaid");
        reader.seen.is_ended = body.is_over;
        if is_complete {
            assert!(!body.is_cut, "cut off: {:?}", body.text);
            reader.pass(self.head() + 1);
            // What was passed over may be counted, and then be in a gap.
            if !terms.is_manual && !reader.has_gap {
                assert_eq!(reader.missed, reader.conflated, "conflated");
            }
            assert_eq!(reader.snapshot, None, "the snapshot is not complete");
        }
        reader.seen
    }
}

/// The body of an answer, out of its chunks.
#[derive(Default)]
struct Body {
    text: String,
    /// It ends within something.
    is_cut: bool,
    /// The last chunk was there.
    is_over: bool,
}

impl Body {
    fn read(taken: &[u8]) -> Self {
        let mut body = Self::default();
        let Some(mut rest) = taken.strip_prefix(HEAD.as_bytes()) else {
            assert!(HEAD.as_bytes().starts_with(taken));
            body.is_cut = true;
            return body;
        };
        let mut text = Vec::new();
        while !rest.is_empty() {
            assert!(!body.is_over, "something after the last chunk");
            let Some(line) = rest.windows(2).position(|two| two == b"\r\n") else {
                body.is_cut = true;
                break;
            };
            let size = std::str::from_utf8(&rest[..line]).unwrap();
            let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
            rest = &rest[line + 2..];
            text.extend_from_slice(&rest[..size.min(rest.len())]);
            if rest.len() < size + 2 {
                body.is_cut = true;
                break;
            }
            assert_eq!(&rest[size..size + 2], b"\r\n");
            rest = &rest[size + 2..];
            body.is_over = size == 0;
        }
        body.text = String::from_utf8(text).expect("text");
        body
    }
}

/// Somebody who reads a stream, and knows what should come.
struct Reader<'a> {
    history: &'a History,
    terms: &'a Terms,
    seen: Seen,
    /// Everything up to here was told, or not wanted.
    at: u64,
    /// How many blocks there were.
    told: usize,
    /// How many events it was not given that it wanted, because of newer ones.
    missed: u64,
    conflated: u64,
    has_gap: bool,
    /// How many events of the snapshot there were, until it is complete.
    snapshot: Option<u64>,
}

impl Reader<'_> {
    fn block(&mut self, block: &str) {
        assert!(!self.seen.is_ended, "something after the end: {block:?}");
        let field = |name| block.lines().find_map(|line| line.strip_prefix(name));
        let id: Option<Cursor> = field("id: ").map(|id| id.parse().unwrap());
        self.seen.last_id = id.or(self.seen.last_id);
        let id = id.map(|id| id.position.0);
        match (id, field("data: ")) {
            (Some(id), Some(json)) => self.event(id, json),
            (Some(id), None) => {
                assert!(id >= self.at, "told to go back to {id} at {}", self.at);
                self.pass(id + 1);
            }
            (None, Some(json)) => self.other(&serde_json::from_str(json).unwrap()),
            (None, None) => assert_eq!(block, ":\n\n"),
        }
        self.told += 1;
    }

    fn event(&mut self, id: u64, json: &str) {
        assert_eq!(self.snapshot, None, "an event before the snapshot");
        assert!(id > self.at, "{id} again, at {}", self.at);
        self.pass(id);
        assert!(self.history.is_wanted(id, self.terms), "{id} is not wanted");
        assert_eq!(json.as_bytes(), self.history.events[id as usize - 1].1);
        self.seen.events.push(id);
        self.at = id;
    }

    fn other(&mut self, json: &Value) {
        self.seen.others += 1;
        let Some(status) = json["status"].as_str() else {
            *self.snapshot.as_mut().expect("an event without an id") += 1;
            return;
        };
        match status {
            "connected" => assert_eq!(self.told, 0),
            "gap" => {
                let cursor: Cursor = json["cursor"].as_str().unwrap().parse().unwrap();
                let to = cursor.position.0;
                let is_first = self.terms.is_back && self.told == 1;
                assert!(to > self.at || is_first && to == self.at, "no gap");
                self.at = to;
                self.has_gap = true;
            }
            "snapshot_complete" => {
                assert_eq!(self.snapshot.take(), json["events"].as_u64());
            }
            "conflated" => self.conflated += json["events"].as_u64().unwrap(),
            "paused" => assert!(self.terms.is_manual),
            "closing" => self.seen.is_ended = true,
            other => panic!("{other}"),
        }
    }

    /// Goes on to just before `end`: nothing was to be told in between.
    fn pass(&mut self, end: u64) {
        for position in self.at + 1..end {
            if self.history.is_wanted(position, self.terms) {
                let is_superseded = self.history.is_superseded(position, self.terms);
                assert!(is_superseded, "{position} is missing before {end}");
                self.missed += 1;
            }
        }
        self.at = self.at.max(end - 1);
    }
}
