use std::time::Duration;

use notification_event::{Audience, ClientId, Draft, Expiry, Filter, Priority};
use proptest::prelude::*;
use serde_json::json;

/// Two that come and go, one whose place follows what it confirmed, and one
/// whose place follows what it acknowledges.
pub(super) const CLIENTS: [&str; 4] = ["alice", "bob", "auto", "manual"];
pub(super) const GROUPS: [&str; 2] = ["dev", "ops"];
const TOPICS: [&str; 3] = ["a", "a/b", "c"];
/// Clients and groups, by their places above.
const AUDIENCES: [(&[usize], &[usize]); 5] = [
    (&[], &[0]),
    (&[0], &[]),
    (&[2, 3], &[]),
    (&[], &[1]),
    (&[1, 3], &[0, 1]),
];

#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) tail_events: usize,
    pub(super) keep_events: Option<u64>,
    pub(super) shards: usize,
    /// The hub closes before everybody has had everything.
    pub(super) closes_early: bool,
}

pub(super) fn setting() -> impl Strategy<Value = Setting> {
    let keep_events = prop_oneof![2 => Just(None), 1 => (6..16u64).prop_map(Some)];
    let tail_events = prop_oneof![1usize..3, 4usize..16];
    (tail_events, keep_events, 1..3usize, any::<bool>()).prop_map(
        |(tail_events, keep_events, shards, closes_early)| Setting {
            tail_events,
            keep_events,
            shards,
            closes_early,
        },
    )
}

/// What happens next. Streams and the like are counted among those there are.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Publish(Vec<Post>),
    Join {
        group: usize,
        client: usize,
    },
    Leave {
        group: usize,
        client: usize,
    },
    Open(Wanted),
    /// A shard hears its bell.
    Hear(usize),
    /// A socket takes so many bytes more from now on, none is all.
    Room {
        stream: usize,
        bytes: Option<usize>,
    },
    /// A socket takes no more than so many bytes at once.
    Gulp {
        stream: usize,
        bytes: Option<usize>,
    },
    /// A shard is told that a socket can be read and takes more, true or not.
    Ready(usize),
    /// A peer says something.
    Say {
        stream: usize,
        bytes: usize,
    },
    HangUp(usize),
    Break(usize),
    /// A part of the log is read for a stream.
    Read(usize),
    /// The shard is told what was read.
    GiveBack(usize),
    Pass(Duration),
    Tick(usize),
    /// An administrator closes a stream.
    Close(usize),
    /// A peer's machine has all that its socket took, and perhaps all that it
    /// takes from now on.
    Confirm {
        stream: usize,
        is_kept_up: bool,
    },
    Acknowledge {
        stream: usize,
        event: usize,
        is_through: bool,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Post {
    topic: usize,
    audience: Option<usize>,
    is_urgent: bool,
    key: Option<bool>,
    has_expired: bool,
    require_ack: bool,
    /// Its size, about: several make more than one delivery holds.
    size: usize,
}

impl Post {
    pub(super) fn draft(&self) -> Draft {
        let data = json!({"x": "x".repeat(self.size)});
        let draft = json!({"type": "notification", "message": "m", "data": data});
        let audience = self.audience.map(|audience| {
            let (clients, groups) = AUDIENCES[audience];
            let clients: Vec<_> = clients.iter().map(|client| CLIENTS[*client]).collect();
            let groups: Vec<_> = groups.iter().map(|group| GROUPS[*group]).collect();
            let names = json!({"clients": clients, "groups": groups});
            Audience::parse(names.as_object().unwrap().clone()).unwrap()
        });
        let key = |is_first| if is_first { "k" } else { "l" };
        Draft {
            topic: TOPICS[self.topic].parse().unwrap(),
            audience,
            priority: match self.is_urgent {
                true => Priority::Urgent,
                false => Priority::Default,
            },
            expiry: self.has_expired.then_some(Expiry::In(Duration::ZERO)),
            collapse_key: self.key.map(|is_first| key(is_first).parse().unwrap()),
            require_ack: self.require_ack,
            ..Draft::parse(draft).unwrap()
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) shard: usize,
    filter: usize,
    pub(super) client: Option<usize>,
    pub(super) is_durable: bool,
    pub(super) begin: Begin,
    pub(super) is_held: bool,
    pub(super) room: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Begin {
    Now,
    Snapshot,
    Beginning,
    /// Where another stream was told to.
    Resume(usize),
}

impl Wanted {
    pub(super) fn client(&self) -> Option<ClientId> {
        self.client.map(|client| CLIENTS[client].parse().unwrap())
    }

    pub(super) fn filter(&self) -> Filter {
        let (topics, min_priority): (&[&str], _) = match self.filter {
            // A durable client comes back with the filter that it had.
            _ if self.is_durable => (&[], None),
            0 => (&[], None),
            1 => (&["a/**"], None),
            2 => (&["c", "$presence"], None),
            _ => (&["a", "c"], Some(Priority::High)),
        };
        let topics = topics.iter().map(|topic| topic.parse().unwrap());
        Filter {
            topics: topics.collect(),
            min_priority,
            ..Filter::default()
        }
    }
}

fn post() -> impl Strategy<Value = Post> {
    let size = prop_oneof![40 => 1..40usize, 1 => Just(30_000)];
    (
        0..TOPICS.len(),
        prop::option::weighted(0.4, 0..AUDIENCES.len()),
        any::<bool>(),
        prop::option::weighted(0.4, any::<bool>()),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.2),
        size,
    )
        .prop_map(
            |(topic, audience, is_urgent, key, has_expired, require_ack, size)| Post {
                topic,
                audience,
                is_urgent,
                key,
                has_expired,
                require_ack,
                size,
            },
        )
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let begin = prop_oneof![
        4 => Just(Begin::Now),
        1 => Just(Begin::Snapshot),
        2 => Just(Begin::Beginning),
        2 => (0..8usize).prop_map(Begin::Resume),
    ];
    // Most often the first, so that filters are shared.
    let filter = prop_oneof![2 => Just(0), 3 => 0..4usize];
    let client = prop::option::weighted(0.7, 0..CLIENTS.len());
    let room = prop_oneof![2 => Just(None), 1 => (0..1_000usize).prop_map(Some)];
    (
        0..2usize,
        filter,
        client,
        begin,
        prop::bool::weighted(0.15),
        room,
    )
        .prop_map(|(shard, filter, client, begin, is_held, room)| Wanted {
            shard,
            filter,
            client,
            is_durable: client.is_some_and(|client| client >= 2),
            begin,
            is_held,
            room,
        })
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let stream = || 0..8usize;
    let group = || (0..GROUPS.len(), 0..CLIENTS.len());
    let room = prop_oneof![1 => Just(None), 2 => (0..400usize).prop_map(Some)];
    let gulp = prop_oneof![1 => Just(None), 1 => (1..60usize).prop_map(Some)];
    let bytes = prop_oneof![3 => 1..600usize, 1 => Just(17_000)];
    let pass = prop_oneof![
        2 => 0..300u64,
        2 => 300..1_100u64,
        1 => 1_100..5_000u64,
    ];
    prop_oneof![
        14 => prop::collection::vec(post(), 1..4).prop_map(Step::Publish),
        2 => group().prop_map(|(group, client)| Step::Join { group, client }),
        2 => group().prop_map(|(group, client)| Step::Leave { group, client }),
        8 => wanted().prop_map(Step::Open),
        10 => (0..2usize).prop_map(Step::Hear),
        6 => (stream(), room).prop_map(|(stream, bytes)| Step::Room { stream, bytes }),
        2 => (stream(), gulp).prop_map(|(stream, bytes)| Step::Gulp { stream, bytes }),
        6 => stream().prop_map(Step::Ready),
        1 => (stream(), bytes).prop_map(|(stream, bytes)| Step::Say { stream, bytes }),
        1 => stream().prop_map(Step::HangUp),
        2 => stream().prop_map(Step::Break),
        6 => (0..4usize).prop_map(Step::Read),
        6 => (0..4usize).prop_map(Step::GiveBack),
        5 => pass.prop_map(|ms| Step::Pass(Duration::from_millis(ms))),
        6 => (0..2usize).prop_map(Step::Tick),
        1 => stream().prop_map(Step::Close),
        3 => (stream(), any::<bool>())
            .prop_map(|(stream, is_kept_up)| Step::Confirm { stream, is_kept_up }),
        3 => (stream(), 0..8usize, any::<bool>()).prop_map(|(stream, event, is_through)| {
            Step::Acknowledge { stream, event, is_through }
        }),
    ]
}
