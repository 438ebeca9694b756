use std::path::Path;

use crate::cli::{Cli, Group};
use crate::deliver::Deliver;
use crate::disk::Disk;
use crate::durable::{Durable, MAX_CLIENTS};
use crate::figures::Figures;
use crate::publish::Publish;
use crate::replay::Replay;
use crate::server::{Binary, Durability, Server};
use crate::topics::Topics;

/// How many connections publish at once.
const PUBLISHERS: [usize; 2] = [1, 64];

/// How many topics there are, beside the number that was asked for.
const TOPICS: [u64; 2] = [1, 100];

/// One load whose figures are compared between versions.
#[derive(Clone, Debug)]
pub(crate) enum Row {
    /// What the disk could do without a server.
    Disk(Disk),
    /// Publishers in a closed loop.
    Publish(Durability, Publish),
    /// Paced messages to many open streams.
    Deliver(Durability, Deliver),
    /// A publisher in a closed loop, to many topics in turn.
    Topics(Durability, Topics),
    /// One stream that asks for everything from the beginning.
    Replay(Durability, Replay),
    /// Durable clients that come back at once.
    Durable(Durability, Durable),
}

impl Row {
    /// Those that were asked for, in the order in which they are shown.
    pub(crate) fn all(cli: &Cli) -> Vec<Self> {
        let groups = [
            (Group::Publish, publish as fn(&Cli) -> Vec<Self>),
            (Group::Deliver, deliver),
            (Group::Topics, topics),
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
            Self::Publish(durability, Publish { publishers, .. }) => {
                format!("publish, {durability}, {publishers} at once")
            }
            Self::Deliver(
                durability,
                Deliver {
                    streams,
                    rate,
                    size,
                    ..
                },
            ) => {
                format!("deliver, {durability}, {streams} × {rate}/s × {size} B")
            }
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
            Self::Disk(_) | Self::Publish(..) => 0,
            Self::Deliver(_, deliver) => deliver.streams,
            Self::Topics(_, topics) => topics.topics,
            Self::Replay(..) => 1,
            Self::Durable(_, durable) => durable.clients,
        }
    }

    /// Measures it once, with a server of its own.
    pub(crate) fn measure(&self, binary: &Binary, data_parent: &Path) -> anyhow::Result<Figures> {
        let start = |durability: &Durability, settings| {
            Server::start(binary, data_parent, *durability, settings)
        };
        match self {
            Self::Disk(disk) => disk.measure(data_parent),
            Self::Publish(durability, publish) => publish.measure(&start(durability, "")?),
            Self::Deliver(durability, deliver) => deliver.measure(&start(durability, "")?),
            Self::Topics(durability, topics) => topics.measure(&start(durability, "")?),
            Self::Replay(durability, replay) => {
                replay.measure(&start(durability, Replay::SETTINGS)?)
            }
            Self::Durable(durability, durable) => durable.measure(&start(durability, "")?),
        }
    }
}

fn publish(cli: &Cli) -> Vec<Row> {
    let duration = cli.duration();
    let loads = Durability::ALL.into_iter().flat_map(|durability| {
        PUBLISHERS.map(|publishers| {
            Row::Publish(
                durability,
                Publish {
                    publishers,
                    duration,
                },
            )
        })
    });
    std::iter::once(Row::Disk(Disk)).chain(loads).collect()
}

fn deliver(cli: &Cli) -> Vec<Row> {
    let deliver = Deliver {
        streams: cli.streams as usize,
        rate: cli.rate,
        size: cli.size as usize,
        duration: cli.duration(),
    };
    // A log on a disk, whose speed is not what this row is about.
    vec![Row::Deliver(Durability::Write, deliver)]
}

fn topics(cli: &Cli) -> Vec<Row> {
    let fewer = TOPICS.into_iter().filter(|topics| *topics < cli.topics);
    let row = |topics| Topics {
        topics: topics as usize,
        duration: cli.duration(),
    };
    // No log on a disk, whose cost would hide that of the topics.
    fewer
        .chain([cli.topics])
        .map(|topics| Row::Topics(Durability::Memory, row(topics)))
        .collect()
}

fn replay(cli: &Cli) -> Vec<Row> {
    let events = cli.replay;
    vec![Row::Replay(Durability::Write, Replay { events })]
}

fn durable(cli: &Cli) -> Vec<Row> {
    let clients = cli.streams.min(MAX_CLIENTS) as usize;
    vec![Row::Durable(Durability::Write, Durable { clients })]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

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
            &[
                "publish, memory, 1 topic",
                "publish, memory, 100 topics",
                "publish, memory, 10000 topics",
            ],
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
            "--only deliver --streams 50",
            &["deliver, write, 50 × 100/s × 200 B"],
        );
    }
}
