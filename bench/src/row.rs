use std::time::Duration;

use crate::access::{self, Access};
use crate::back::Back;
use crate::cli::{Cli, Group};
use crate::deliver::{Deliver, LookAt};
use crate::disk::Disk;
use crate::durable::Durable;
use crate::figures::Figures;
use crate::mcp::Mcp;
use crate::peers::Peer;
use crate::poll::Poll;
use crate::publish::Publish;
use crate::replay::Replay;
use crate::server::Durability;
use crate::setup::Setup;
use crate::topics::Topics;
use crate::webhooks::Webhooks;

/// After how long what has not arrived counts as lost, where nothing is paced.
pub(crate) const TOO_LATE: Duration = Duration::from_secs(60);

/// How many connections publish at once.
const PUBLISHERS: [usize; 2] = [1, 64];

/// The most clients that come back at once.
const MAX_BACK: u64 = 10_000;

/// The most streams that are opened to see what it costs to know who opens them.
const MAX_OPENING: u64 = 2_000;

/// The most sessions of MCP clients.
const MAX_SESSIONS: u64 = 1_000;

/// The most webhooks.
const MAX_SUBSCRIBED: u64 = 10_000;

/// The longest that a row takes that does not deliver at a steady rate.
const SHORT: Duration = Duration::from_secs(3);

/// How many streams there are in the row with stalled ones, and how many of them stall.
const STALLED: (usize, usize) = (1_000, 100);

/// One load whose figures are compared between versions and peers.
#[derive(Clone, Debug)]
pub(crate) enum Row {
    /// What the disk could do without a server.
    Disk(Disk),
    /// Publishers in a closed loop.
    Publish(Durability, Publish),
    /// Paced messages to many open streams.
    Deliver(Deliver),
    /// The same, where some streams may be stalled.
    Stalled(Deliver),
    /// Streams that come back at once, and say where they were.
    Back(Back),
    /// What it costs to know who asks.
    Access(Access),
    /// What it costs to say the same in the words of MCP.
    Mcp(Mcp),
    /// A client that asks again and again.
    Poll(Poll),
    /// Events that are posted to receivers.
    Webhooks(Webhooks),
    /// A publisher in a closed loop, to many topics in turn.
    Topics(Durability, Topics),
    /// One stream that asks for everything from the beginning.
    Replay(Durability, Replay),
    /// Durable clients that come back at once.
    Durable(Durability, Durable),
}

/// A picture, and a figure of a row that is shown in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) plot: &'static str,
    pub(crate) figure: &'static str,
}

impl Row {
    /// Those that were asked for, in the order in which they are shown.
    pub(crate) fn all(cli: &Cli) -> Vec<Self> {
        let groups = [
            (Group::Deliver, deliver as fn(&Cli) -> Vec<Self>),
            (Group::Back, back),
            (Group::Stalled, stalled),
            (Group::Topics, topics),
            (Group::Publish, publish),
            (Group::Access, access),
            (Group::Mcp, mcp),
            (Group::Poll, poll),
            (Group::Webhooks, webhooks),
            (Group::Replay, replay),
            (Group::Durable, durable),
        ];
        let measured = groups.into_iter().filter(|(group, _)| cli.measures(*group));
        measured.flat_map(|(_, rows)| rows(cli)).collect()
    }

    /// What it is called: the same in every version that is compared.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Disk(_) => "disk alone".to_owned(),
            Self::Publish(durability, publish) => {
                let Publish {
                    publishers,
                    streams,
                    ..
                } = publish;
                let name = format!("publish, {durability}, {publishers} at once");
                match streams {
                    0 => name,
                    1 => format!("{name}, 1 stream"),
                    _ => format!("{name}, {streams} streams"),
                }
            }
            Self::Deliver(deliver) => format!("deliver, write, {}", load(deliver)),
            Self::Stalled(deliver) => {
                format!("stalled, write, {} of {}", deliver.stalled, load(deliver))
            }
            Self::Back(Back { streams }) => {
                format!("coming back, write, {streams} streams")
            }
            Self::Access(Access { load, .. }) => match load {
                access::Load::Publish { publishers } => {
                    format!("access, memory, {publishers} at once")
                }
                access::Load::Open { streams } => {
                    format!("access, memory, opening {streams} streams")
                }
            },
            Self::Mcp(mcp) => format!(
                "mcp, write, {} × {}/s × {} B",
                mcp.streams, mcp.rate, mcp.size
            ),
            Self::Poll(_) => "poll, write".to_owned(),
            Self::Webhooks(of) => match of.others {
                0 => format!("webhooks, write, {} receivers", of.receivers),
                others => format!(
                    "webhooks, write, {} receivers beside {others}",
                    of.receivers
                ),
            },
            Self::Topics(durability, Topics { topics: 1, .. }) => {
                format!("publish, {durability}, 1 topic")
            }
            Self::Topics(durability, Topics { topics, .. }) => {
                format!("publish, {durability}, {topics} topics")
            }
            Self::Replay(durability, Replay { events }) => {
                format!("replay, {durability}, {events} events to one stream")
            }
            Self::Durable(durability, Durable { clients }) => {
                format!("durable, {durability}, {clients} clients come back")
            }
        }
    }

    /// How many streams it has open at a time.
    pub(crate) fn streams(&self) -> usize {
        match self {
            Self::Disk(_) => 0,
            Self::Publish(_, publish) => publish.streams,
            Self::Deliver(deliver) | Self::Stalled(deliver) => deliver.streams + deliver.stalled,
            Self::Back(back) => back.streams,
            Self::Access(access) => access.connections(),
            Self::Mcp(mcp) => mcp.streams,
            Self::Poll(_) => 1,
            // As many connections as one place gets at once, in two directions.
            Self::Webhooks(of) => of.receivers * 2 * 16,
            Self::Topics(_, topics) => topics.topics,
            Self::Replay(..) => 1,
            Self::Durable(_, durable) => durable.clients,
        }
    }

    /// Who can do it: ours, and those that have something like it.
    pub(crate) fn peers(&self) -> &'static [Peer] {
        match self {
            Self::Deliver(_) => &[
                Peer::Ours,
                Peer::Reference,
                Peer::Nchan,
                Peer::Mercure,
                Peer::Pushpin,
            ],
            Self::Back(_) => &[Peer::Ours, Peer::Nchan, Peer::Mercure],
            _ => &[Peer::Ours],
        }
    }

    /// Which others cannot do it, though ours is compared with some, and why.
    pub(crate) fn unable(&self) -> &'static [(Peer, &'static str)] {
        match self {
            Self::Back(_) => &[
                (Peer::Reference, "it keeps no messages"),
                (
                    Peer::Pushpin,
                    "it keeps no messages: what a stream has missed would be its origin's to answer",
                ),
            ],
            _ => &[],
        }
    }

    /// What of it is drawn.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let shown = |plot, figure| Shown { plot, figure };
        let cpu = shown("cpu", "server CPU s/million");
        match self {
            // Beyond what a small machine can do, only latency tells.
            Self::Deliver(Deliver { rate: FAST.., .. }) => vec![shown("p99", "p99 ms")],
            Self::Deliver(deliver) if deliver.look_at == LookAt::Opening => vec![
                cpu,
                shown("opening", "server CPU µs/connection"),
                shown("memory", "server memory KB/idle stream"),
            ],
            Self::Deliver(_) => vec![cpu],
            Self::Back(_) => vec![shown("back", "all caught up ms")],
            Self::Access(access) => {
                let figures = access.drawn().into_iter();
                figures.map(|figure| shown("access", figure)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Measures it once, with a server of its own.
    pub(crate) fn measure(&self, peer: Peer, setup: &Setup) -> anyhow::Result<Figures> {
        match self {
            Self::Disk(disk) => disk.measure(&setup.data_parent),
            Self::Publish(durability, publish) => publish.measure(&setup.server(*durability, "")?),
            Self::Deliver(deliver) | Self::Stalled(deliver) => {
                deliver.measure(&*peer.start(setup)?)
            }
            Self::Back(back) => back.measure(&*peer.start(setup)?),
            Self::Access(access) => access.measure(setup),
            Self::Mcp(mcp) => mcp.measure(setup),
            Self::Poll(poll) => poll.measure(setup),
            Self::Webhooks(webhooks) => webhooks.measure(setup),
            Self::Topics(durability, topics) => topics.measure(&setup.server(*durability, "")?),
            Self::Replay(durability, replay) => {
                replay.measure(&setup.server(*durability, Replay::SETTINGS)?)
            }
            Self::Durable(durability, durable) => durable.measure(&setup.server(*durability, "")?),
        }
    }
}

fn load(deliver: &Deliver) -> String {
    let Deliver {
        streams,
        stalled,
        rate,
        size,
        ..
    } = deliver;
    format!("{} × {rate}/s × {size} B", streams + stalled)
}

/// From this rate on, in messages per second, a row is about latency.
const FAST: u64 = 500;

fn publish(cli: &Cli) -> Vec<Row> {
    let duration = cli.duration().min(SHORT);
    let row = |durability, publishers, streams| {
        let publish = Publish {
            publishers,
            streams,
            duration,
        };
        Row::Publish(durability, publish)
    };
    let alone = Durability::ALL
        .into_iter()
        .flat_map(|durability| PUBLISHERS.map(|publishers| row(durability, publishers, 0)));
    let heard = PUBLISHERS.map(|publishers| row(Durability::Memory, publishers, 1));
    let disk = std::iter::once(Row::Disk(Disk));
    disk.chain(alone).chain(heard).collect()
}

fn deliver(cli: &Cli) -> Vec<Row> {
    let row = |streams: u64, rate, look_at| {
        Row::Deliver(Deliver {
            streams: streams as usize,
            stalled: 0,
            rate,
            size: cli.size as usize,
            duration: cli.duration(),
            look_at,
        })
    };
    match (cli.streams, cli.rate) {
        (None, None) => vec![
            row(1_000, 100, LookAt::Idle),
            row(10_000, 5, LookAt::Opening),
            row(1_000, 600, LookAt::Idle),
        ],
        (streams, rate) => vec![row(
            streams.unwrap_or(1_000),
            rate.unwrap_or(100),
            LookAt::Opening,
        )],
    }
}

fn back(cli: &Cli) -> Vec<Row> {
    let streams = cli.streams.unwrap_or(MAX_BACK).min(MAX_BACK) as usize;
    vec![Row::Back(Back { streams })]
}

/// As many streams with stalled ones as without.
fn stalled(cli: &Cli) -> Vec<Row> {
    let (most, stalled) = STALLED;
    let streams = cli
        .streams
        .map_or(most, |streams| most.min(streams as usize));
    let row = |stalled| {
        Row::Stalled(Deliver {
            streams: streams - stalled,
            stalled,
            rate: 100,
            size: cli.size as usize,
            duration: cli.duration(),
            look_at: LookAt::End,
        })
    };
    vec![row(0), row(streams * stalled / most)]
}

fn poll(cli: &Cli) -> Vec<Row> {
    let duration = cli.duration().min(SHORT);
    vec![Row::Poll(Poll { duration })]
}

/// One receiver, as many as one hundred, and one beside very many who want
/// something else of the same event type. Fewer of each where there are few streams.
fn webhooks(cli: &Cli) -> Vec<Row> {
    let most = cli.streams.unwrap_or(MAX_SUBSCRIBED).min(MAX_SUBSCRIBED) as usize;
    let row = |receivers: usize, others| {
        let deliveries = (most as u64 * 2).max(200);
        let events = deliveries / receivers as u64 / 100 * 100;
        Row::Webhooks(Webhooks {
            receivers,
            others,
            events: events.max(100),
        })
    };
    vec![row(1, 0), row(most.min(100), 0), row(1, most)]
}

fn topics(cli: &Cli) -> Vec<Row> {
    let row = |topics| {
        let topics = Topics {
            topics,
            duration: cli.duration().min(SHORT),
        };
        // No log on a disk, whose cost would hide that of the topics.
        Row::Topics(Durability::Memory, topics)
    };
    match cli.topics as usize {
        1 => vec![row(1)],
        many => vec![row(1), row(many)],
    }
}

fn access(cli: &Cli) -> Vec<Row> {
    let streams = cli.streams.unwrap_or(MAX_OPENING).min(MAX_OPENING) as usize;
    let publish = PUBLISHERS.map(|publishers| access::Load::Publish { publishers });
    let loads = publish.into_iter().chain([access::Load::Open { streams }]);
    let duration = cli.duration().min(SHORT);
    let row = |load| Row::Access(Access { load, duration });
    loads.map(row).collect()
}

fn mcp(cli: &Cli) -> Vec<Row> {
    let streams = cli.streams.unwrap_or(MAX_SESSIONS).min(MAX_SESSIONS) as usize;
    vec![Row::Mcp(Mcp {
        streams,
        rate: 100,
        size: cli.size as usize,
        duration: cli.duration(),
    })]
}

fn replay(cli: &Cli) -> Vec<Row> {
    let events = cli.replay;
    vec![Row::Replay(Durability::Write, Replay { events })]
}

fn durable(cli: &Cli) -> Vec<Row> {
    let clients = cli.streams.unwrap_or(MAX_BACK).min(MAX_BACK) as usize;
    vec![Row::Durable(Durability::Write, Durable { clients })]
}

#[cfg(test)]
mod tests {
    use clap::{Parser, ValueEnum};

    use super::*;

    #[test]
    fn what_is_drawn_has_something_beside_it() {
        for row in Row::all(&Cli::parse_from(["notification-bench"])) {
            let shown = row.shown();
            let beside = shown.iter().filter(|one| {
                shown
                    .iter()
                    .all(|other| *one == other || one.plot != other.plot)
            });
            assert!(
                beside.count() == 0 || row.peers().len() > 1,
                "{}",
                row.name()
            );
        }
    }

    #[test]
    fn where_ours_is_compared_every_other_is_measured_or_unable() {
        for row in Row::all(&Cli::parse_from(["notification-bench"])) {
            let unable = row.unable().iter().map(|(peer, _)| peer);
            let mut named: Vec<_> = row.peers().iter().chain(unable).copied().collect();
            named.sort();
            match row.peers().len() {
                1 => assert_eq!(named, [Peer::Ours], "{}", row.name()),
                _ => assert_eq!(named, Peer::value_variants(), "{}", row.name()),
            }
        }
    }

    #[test]
    fn rows_are_named_after_their_load() {
        let check = |arguments: &str, expected: &[&str]| {
            let arguments = ["notification-bench"]
                .into_iter()
                .chain(arguments.split_whitespace());
            let rows = Row::all(&Cli::parse_from(arguments));
            let names: Vec<_> = rows.iter().map(Row::name).collect();
            assert_eq!(names, expected);
        };
        check(
            "--only topics",
            &["publish, memory, 1 topic", "publish, memory, 10000 topics"],
        );
        check("--only topics --topics 1", &["publish, memory, 1 topic"]);
        check(
            "--only replay,durable --streams 25000",
            &[
                "replay, write, 100000 events to one stream",
                "durable, write, 10000 clients come back",
            ],
        );
        check(
            "--only deliver,back",
            &[
                "deliver, write, 1000 × 100/s × 200 B",
                "deliver, write, 10000 × 5/s × 200 B",
                "deliver, write, 1000 × 600/s × 200 B",
                "coming back, write, 10000 streams",
            ],
        );
        check(
            "--only deliver,stalled --streams 50",
            &[
                "deliver, write, 50 × 100/s × 200 B",
                "stalled, write, 0 of 50 × 100/s × 200 B",
                "stalled, write, 5 of 50 × 100/s × 200 B",
            ],
        );
        check(
            "--only access",
            &[
                "access, memory, 1 at once",
                "access, memory, 64 at once",
                "access, memory, opening 2000 streams",
            ],
        );
        check("--only mcp", &["mcp, write, 1000 × 100/s × 200 B"]);
        check(
            "--only poll,webhooks",
            &[
                "poll, write",
                "webhooks, write, 1 receivers",
                "webhooks, write, 100 receivers",
                "webhooks, write, 1 receivers beside 10000",
            ],
        );
        check(
            "--only publish",
            &[
                "disk alone",
                "publish, fsync, 1 at once",
                "publish, fsync, 64 at once",
                "publish, write, 1 at once",
                "publish, write, 64 at once",
                "publish, memory, 1 at once",
                "publish, memory, 64 at once",
                "publish, memory, 1 at once, 1 stream",
                "publish, memory, 64 at once, 1 stream",
            ],
        );
    }
}
