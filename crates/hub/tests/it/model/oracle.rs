use std::collections::{HashMap, HashSet};

use notification_event::{
    ClientId, Collapse, Cursor, EventId, Filter, GroupName, Head, Position, TaskPhase,
};
use notification_hub::{AckMode, PublishError, Start, Subscribe};
use notification_log::Change;
use serde_json::Value;

use super::seen::{Passed, Read, Request, Seen, Stream, Told, What};
use super::world::{WINDOW, World};
use crate::hooked::History;

/// Compares all that was seen with what was in the log.
pub(super) fn judge(world: &World) {
    world.log.history(|history| {
        let oracle = Oracle::new(history, world);
        oracle.judge_answers(&world.requests);
        oracle.judge_presence();
        oracle.judge_news();
        for stream in &world.streams {
            oracle.judge_stream(stream);
        }
        for passed in &world.places {
            oracle.judge_place(passed);
        }
        for read in &world.pages {
            oracle.judge_page(read);
        }
        oracle.judge_receipts();
    });
}

/// After the one position, and up to the other if there is one.
type Span = (Position, Option<Position>);

struct Oracle<'a> {
    history: &'a History,
    world: &'a World,
    /// While a client was in a group: after the one position, up to the other.
    memberships: HashMap<(GroupName, ClientId), Vec<Span>>,
    /// Where the events of each id are: one that retention has removed may be
    /// published again.
    places: HashMap<&'a EventId, Vec<Position>>,
}

impl<'a> Oracle<'a> {
    fn new(history: &'a History, world: &'a World) -> Self {
        let mut memberships: HashMap<_, Vec<(Position, Option<Position>)>> = HashMap::new();
        for (head, change) in &history.changes {
            match change {
                Change::JoinGroup { group, client } => {
                    let spans = memberships.entry((group.clone(), client.clone()));
                    spans.or_default().push((*head, None));
                }
                Change::LeaveGroup { group, client } => {
                    let spans = memberships.get_mut(&(group.clone(), client.clone()));
                    spans.unwrap().last_mut().unwrap().1 = Some(*head);
                }
                _ => {}
            }
        }
        let mut places: HashMap<_, Vec<_>> = HashMap::new();
        for (event, position) in history.events.iter().zip(1..) {
            let of_id = places.entry(&event.head.id);
            of_id.or_default().push(Position(position));
        }
        Self {
            history,
            world,
            memberships,
            places,
        }
    }

    fn head(&self, position: Position) -> &Head {
        &self.history.events[position.0 as usize - 1].head
    }

    fn newest(&self) -> Position {
        Position(self.history.events.len() as u64)
    }

    /// Whether a client is named by an event, or in one of its groups.
    fn is_recipient(&self, client: &ClientId, position: Position) -> bool {
        let audience = self.head(position).audience.as_ref().unwrap();
        let was_in = |group: &GroupName| {
            let spans = self.memberships.get(&(group.clone(), client.clone()));
            let mut spans = spans.into_iter().flatten();
            spans.any(|(after, through)| {
                position > *after && through.is_none_or(|through| position <= through)
            })
        };
        audience.named_clients().contains(client) || audience.named_groups().iter().any(was_in)
    }

    fn wants(&self, filter: &Filter, client: Option<&ClientId>, position: Position) -> bool {
        let head = self.head(position);
        let topic = head.topic.as_str();
        let by_topic = match filter.topics.as_slice() {
            [] => !topic.starts_with('$'),
            patterns => patterns.iter().any(|p| matches(p.as_str(), topic)),
        };
        let by_priority = filter.min_priority.is_none_or(|min| head.priority >= min);
        let by_tag = filter.tags.is_empty() || filter.tags.iter().any(|t| head.tags.contains(t));
        let by_audience =
            head.audience.is_none() || client.is_some_and(|c| self.is_recipient(c, position));
        by_topic && by_priority && by_tag && by_audience
    }

    /// Those that expire at all have expired before anybody gets them.
    fn has_expired(&self, position: Position) -> bool {
        self.head(position).expires_at.is_some()
    }

    fn is_same_state(&self, one: Position, other: Position) -> bool {
        let (one, other) = (self.head(one), self.head(other));
        let is_same = match (&one.collapse, &other.collapse) {
            (Some(Collapse::Key(one)), Some(Collapse::Key(other))) => one == other,
            (Some(Collapse::Task { task: one, .. }), Some(Collapse::Task { task: other, .. })) => {
                one == other
            }
            _ => false,
        };
        is_same && one.topic == other.topic && one.audience == other.audience
    }

    /// Whether an event may be passed over: a newer one, up to `head`, takes its
    /// place for this subscriber too.
    fn is_replaced(&self, subscribe: &Subscribe, position: Position, head: Position) -> bool {
        let may_be = match &self.head(position).collapse {
            Some(Collapse::Key(_)) => true,
            Some(Collapse::Task { phase, .. }) => {
                *phase == TaskPhase::Underway && subscribe.max_rate.is_some()
            }
            None => false,
        };
        let (filter, client) = (&subscribe.filter, subscribe.client.as_ref());
        let mut newer = positions(position, head);
        may_be && newer.any(|p| self.is_same_state(position, p) && self.wants(filter, client, p))
    }

    /// Whether a client had asked, when it was `at`, not to get an event again.
    fn is_acknowledged(&self, client: &ClientId, position: Position, at: u64) -> bool {
        let mut all = self.world.acknowledgements.iter();
        let places = &self.places[&self.head(position).id];
        all.any(|a| {
            let is_meant = a.client == *client && a.requested_at <= at;
            is_meant && places.iter().any(|p| a.covers(*p))
        })
    }

    /// Whether it had been told that it will not.
    fn is_settled(&self, client: &ClientId, position: Position, at: u64) -> bool {
        let mut all = self.world.acknowledgements.iter();
        all.any(|a| {
            let was_answered = a.answered.is_some_and(|(answered_at, _)| answered_at < at);
            a.client == *client && was_answered && a.covers(position)
        })
    }

    /// Every answer names events that are there, and nothing else is there.
    fn judge_answers(&self, requests: &[Request]) {
        let mut published: HashMap<&EventId, usize> = HashMap::new();
        let mut unheard = 0;
        for Request { drafts, answer } in requests {
            let answers = match answer {
                Some(Ok(answers)) => answers,
                // A task that does not go forward.
                Some(Err(PublishError::Conflict { .. })) if drafts.is_empty() => continue,
                Some(Err(error)) => panic!("{error}"),
                None => {
                    unheard += drafts.len().max(1);
                    continue;
                }
            };
            for answer in answers {
                assert!(self.places[&answer.event_id].contains(&answer.cursor.position));
                if !answer.is_duplicate {
                    *published.entry(&answer.event_id).or_default() += 1;
                }
            }
            for (answer, draft) in answers.iter().zip(drafts) {
                let head = self.head(answer.cursor.position);
                assert_eq!(
                    (&head.topic, &head.audience),
                    (&draft.topic, &draft.audience)
                );
                assert_eq!((head.priority, &head.tags), (draft.priority, &draft.tags));
                assert!(draft.event_id.is_none() || draft.event_id.as_ref() == Some(&head.id));
            }
        }
        let mut unknown = 0;
        for (id, positions) in &self.places {
            if self.head(positions[0]).topic.as_str().starts_with('$') {
                continue;
            }
            let known = published.get(id).copied().unwrap_or_default();
            assert!(
                known <= positions.len(),
                "{id} was answered more often than published"
            );
            unknown += positions.len() - known;
        }
        assert!(unknown <= unheard, "{unknown} events that nobody published");
    }

    /// A client joins before it leaves, and leaves before it joins again.
    fn judge_presence(&self) {
        let mut begin = Position::START;
        let ends = self.world.lives.iter().skip(1).copied();
        for end in ends.chain([self.newest()]) {
            let mut is_here: HashMap<String, bool> = HashMap::new();
            for position in positions(begin, end) {
                if let Some((name, client)) = self.news(position, "$presence") {
                    let joined = name == "client.joined";
                    let was_here = is_here.insert(client, joined).unwrap_or_default();
                    assert_ne!(was_here, joined, "{position:?}, of the life from {begin:?}");
                }
            }
            if end == self.newest() {
                let last_life = self.world.lives.len();
                for stream in &self.world.streams {
                    if stream.life == last_life
                        && let Some(client) = &stream.subscribe.client
                    {
                        let is_here = is_here.get(client.as_str()).copied();
                        assert!(is_here.is_some() && (!stream.is_at_head || is_here == Some(true)));
                    }
                }
            }
            begin = end;
        }
    }

    /// Nothing is said twice of what became of an event.
    fn judge_news(&self) {
        let mut said: HashMap<_, usize> = HashMap::new();
        for position in positions(Position::START, self.newest()) {
            if let Some((name, client)) = self.news(position, "$receipts/") {
                let topic = self.head(position).topic.as_str();
                let event: EventId = topic["$receipts/".len()..].parse().unwrap();
                let times = said.entry((topic, name, client)).or_default();
                *times += 1;
                let is_new = *times <= self.places[&event].len();
                assert!(is_new, "{position:?} was said before");
            }
        }
    }

    /// The name and the client of an event of the server's own.
    fn news(&self, position: Position, topic: &str) -> Option<(String, String)> {
        if !self.head(position).topic.as_str().starts_with(topic) {
            return None;
        }
        let json = &self.history.events[position.0 as usize - 1].json;
        let json: Value = serde_json::from_slice(json).unwrap();
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        Some((word(&json["name"]), word(&json["data"]["client_id"])))
    }

    fn judge_stream(&self, stream: &Stream) {
        self.judge_snapshot(stream);
        let subscribe = &stream.subscribe;
        let (filter, client) = (&subscribe.filter, subscribe.client.as_ref());
        let manual = client.filter(|_| subscribe.durable == Some(AckMode::Manual));
        let mut passed = Skipped::default();
        let mut considered = stream.started;
        for told in &stream.told {
            match *told {
                Told::Event(seen) => {
                    let position = seen.position;
                    assert!(position > considered, "{position:?} again or out of order");
                    let before = Position(position.0 - 1);
                    self.pass(
                        stream,
                        considered,
                        Seen {
                            position: before,
                            ..seen
                        },
                        &mut passed,
                    );
                    let is_wanted = self.wants(filter, client, position);
                    assert!(is_wanted, "{position:?} was not for this reader");
                    assert!(!self.has_expired(position), "{position:?} had expired");
                    if let Some(client) = manual {
                        let is_settled = self.is_settled(client, position, stream.opened_at);
                        assert!(!is_settled, "{position:?} again after it was acknowledged");
                    }
                    considered = position;
                }
                Told::Gap(seen) => {
                    let is_real = seen.position >= considered && seen.position <= seen.floor;
                    assert!(is_real, "no gap there");
                    let gone = positions(considered, seen.position);
                    let replaced = gone.filter(|p| self.is_replaced(subscribe, *p, seen.head));
                    passed.perhaps += replaced.count() as u64;
                    considered = seen.position;
                }
            }
        }
        assert!(stream.end.position >= considered);
        self.pass(stream, considered, stream.end, &mut passed);

        let Skipped { surely, perhaps } = passed;
        assert!(
            stream.conflated <= surely + perhaps,
            "more was conflated than there was"
        );
        assert!(
            !stream.is_at_head || stream.conflated >= surely,
            "conflated and not told"
        );
        if let Some(client) = manual {
            self.judge_window(stream, client);
        }
    }

    /// A stream went on to where it was seen, and gave nothing.
    fn pass(&self, stream: &Stream, after: Position, seen: Seen, skipped: &mut Skipped) {
        let subscribe = &stream.subscribe;
        let (filter, client) = (&subscribe.filter, subscribe.client.as_ref());
        let is_manual = subscribe.durable == Some(AckMode::Manual);
        for position in positions(after, seen.position) {
            if !self.wants(filter, client, position) || self.has_expired(position) {
                continue;
            }
            let is_replaced = self.is_replaced(subscribe, position, seen.head);
            let is_acknowledged =
                is_manual && client.is_some_and(|c| self.is_acknowledged(c, position, seen.at));
            match (is_acknowledged, is_replaced) {
                (true, true) => skipped.perhaps += 1,
                (true, false) => {}
                (false, true) => skipped.surely += 1,
                (false, false) => panic!(
                    "{position:?} was missed by {subscribe:?}, which was at {after:?} and is at {seen:?}"
                ),
            }
        }
    }

    /// Not too much is given beyond the oldest that is not acknowledged, now or
    /// before the client came back.
    fn judge_window(&self, stream: &Stream, client: &ClientId) {
        let subscribe = &stream.subscribe;
        let of_client = |s: &&Stream| {
            s.subscribe.client.as_ref() == Some(client) && s.subscribe.filter == subscribe.filter
        };
        let streams: Vec<_> = self.world.streams.iter().filter(of_client).collect();
        let mut given = Vec::new();
        for seen in stream.told.iter().filter_map(Told::event) {
            given.push(seen.position);
            // What no other connection would get any more is not waited for.
            let is_owed =
                |p: &Position| *p > seen.floor && !self.is_replaced(subscribe, *p, seen.head);
            let mut open = given.iter().filter(|p| is_owed(p));
            let oldest = open.find(|p| !self.is_acknowledged(client, **p, seen.at));
            let Some(oldest) = oldest else { continue };
            let told = streams.iter().flat_map(|s| &s.told).filter_map(Told::event);
            let beyond = told.filter(|t| t.at <= seen.at && t.position >= *oldest);
            let beyond: HashSet<_> = beyond.map(|t| t.position).filter(is_owed).collect();
            let is_too_much = beyond.len() > WINDOW;
            assert!(!is_too_much, "{client} was given {beyond:?} at {seen:?}");
        }
    }

    /// The newest of each state when the stream began, and nothing else.
    fn judge_snapshot(&self, stream: &Stream) {
        let is_ascending = stream.snapshot.is_sorted_by(|a, b| a < b);
        assert!(is_ascending && stream.snapshot.iter().all(|p| *p <= stream.started));
        let subscribe = &stream.subscribe;
        let (filter, client) = (&subscribe.filter, subscribe.client.as_ref());
        let is_wanted = |position: Position| {
            let collapse = &self.head(position).collapse;
            let is_over = matches!(
                collapse,
                Some(Collapse::Task {
                    phase: TaskPhase::Ended,
                    ..
                })
            );
            let mut newer = positions(position, stream.started);
            collapse.is_some()
                && !is_over
                && !newer.any(|p| self.is_same_state(position, p))
                && self.wants(filter, client, position)
                && !self.has_expired(position)
        };
        for position in &stream.snapshot {
            assert!(is_wanted(*position), "{position:?} is not of the snapshot");
        }
        if let Some(end) = stream.snapshot_end {
            for position in positions(end.floor, stream.started) {
                let mut newer = positions(stream.started, end.head);
                assert!(
                    stream.snapshot.contains(&position)
                        || !is_wanted(position)
                        || newer.any(|p| self.is_same_state(position, p)),
                    "{position:?} is missing from the snapshot"
                );
            }
        }
    }

    /// Of what was passed by the place of a client, it is done with everything.
    fn judge_place(&self, Passed { filter, from, to }: &Passed) {
        let manual: ClientId = super::steps::CLIENTS[3].parse().unwrap();
        let subscribe = Subscribe {
            filter: filter.clone(),
            client: Some(manual.clone()),
            ..Subscribe::default()
        };
        for position in positions((*from).max(to.floor), to.position) {
            assert!(
                !self.wants(filter, Some(&manual), position)
                    || self.has_expired(position)
                    || self.is_acknowledged(&manual, position, to.at)
                    || self.is_replaced(&subscribe, position, to.head),
                "{position:?} is passed by {to:?} and was not acknowledged"
            );
        }
    }

    /// A page has all that was wanted between where it begins and its cursor.
    /// If it is truncated, it begins with its first event.
    fn judge_page(&self, Read { request, page }: &Read) {
        let found: Vec<_> = page.frames.iter().map(|frame| frame.position).collect();
        assert!(found.len() <= request.limit);
        let begin = match (request.start, page.truncated) {
            (Start::After(Cursor { position, .. }), false) => position,
            _ => match found.first() {
                Some(first) => Position(first.0 - 1),
                None => return,
            },
        };
        let (filter, client) = (&request.filter, request.client.as_ref());
        let there = positions(begin, page.cursor.position);
        let expected = there.filter(|p| self.wants(filter, client, *p) && !self.has_expired(*p));
        assert_eq!(found, expected.collect::<Vec<_>>());
    }

    fn judge_receipts(&self) {
        let clients = super::steps::CLIENTS.map(|client| client.parse::<ClientId>().unwrap());
        let last_life = self.world.lives.len();
        for (position, receipts) in &self.world.receipts {
            for client in &clients {
                let receipt = receipts.iter().find(|receipt| receipt.client == *client);
                let is_meant =
                    self.head(*position).audience.is_some() && self.is_recipient(client, *position);
                assert!(
                    !is_meant || receipt.is_some(),
                    "{client} was to acknowledge {position:?}"
                );

                let is_delivered = receipt.is_some_and(|receipt| receipt.delivered_at.is_some());
                let streams = self.world.streams.iter();
                let mut its = streams.filter(|s| s.subscribe.client.as_ref() == Some(client));
                let is_noted = its
                    .clone()
                    .any(|s| s.life == last_life && s.arrived.contains(position));
                assert!(!is_noted || is_delivered, "{client} has got {position:?}");
                let places = &self.places[&self.head(*position).id];
                let has_it = its.any(|s| places.iter().any(|p| s.arrived.contains(p)));
                assert!(!is_delivered || has_it, "{client} has no {position:?}");

                let is_acknowledged =
                    receipt.is_some_and(|receipt| receipt.acknowledged_at.is_some());
                let was_asked = self.is_acknowledged(client, *position, u64::MAX);
                assert!(
                    !is_acknowledged || was_asked,
                    "{client} said nothing of {position:?}"
                );
                let mut all = self.world.acknowledgements.iter();
                let is_done = all.any(|a| {
                    let is_meant = is_meant || matches!(a.what, What::Events(_));
                    let was_done = a.answered.is_some_and(|(_, is_done)| is_done);
                    a.client == *client && is_meant && was_done && a.covers(*position)
                });
                assert!(
                    !is_done || is_acknowledged,
                    "{client} acknowledged {position:?}"
                );
            }
        }
    }
}

/// How many events a stream was not given because newer ones took their place.
#[derive(Default)]
struct Skipped {
    surely: u64,
    /// Besides, so many that also had another reason.
    perhaps: u64,
}

/// The positions after `after`, up to `through`.
fn positions(after: Position, through: Position) -> impl Iterator<Item = Position> + Clone {
    (after.0 + 1..=through.0).map(Position)
}

/// Whether a topic is one that a pattern means.
fn matches(pattern: &str, topic: &str) -> bool {
    if topic.starts_with('$') && !pattern.starts_with('$') {
        return false;
    }
    match (pattern.split_once('/'), topic.split_once('/')) {
        _ if pattern == "**" => true,
        (None, None) => pattern == topic || pattern == "*",
        (Some((first, "**")), None) => first == topic || first == "*",
        (Some((first, more)), Some((segment, others))) => {
            (first == segment || first == "*") && matches(more, others)
        }
        _ => false,
    }
}
