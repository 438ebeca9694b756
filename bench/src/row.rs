use std::path::Path;

use crate::cli::{Cli, Group};
use crate::deliver::Deliver;
use crate::disk::Disk;
use crate::figures::Figures;
use crate::publish::Publish;
use crate::server::{Binary, Durability, Server};

/// How many connections publish at once.
const PUBLISHERS: [usize; 2] = [1, 64];

/// One load whose figures are compared between versions.
#[derive(Clone, Debug)]
pub(crate) enum Row {
    /// What the disk could do without a server.
    Disk(Disk),
    /// Publishers in a closed loop.
    Publish(Durability, Publish),
    /// Paced messages to many open streams.
    Deliver(Durability, Deliver),
}

impl Row {
    /// Those that were asked for, in the order in which they are shown.
    pub(crate) fn all(cli: &Cli) -> Vec<Self> {
        let mut rows = Vec::new();
        if cli.measures(Group::Publish) {
            rows.push(Self::Disk(Disk));
            for durability in Durability::ALL {
                for publishers in PUBLISHERS {
                    let duration = cli.duration();
                    rows.push(Self::Publish(
                        durability,
                        Publish {
                            publishers,
                            duration,
                        },
                    ));
                }
            }
        }
        if cli.measures(Group::Deliver) {
            let deliver = Deliver {
                streams: cli.streams as usize,
                rate: cli.rate,
                size: cli.size as usize,
                duration: cli.duration(),
            };
            // A log on a disk, whose speed is not what this row is about.
            rows.push(Self::Deliver(Durability::Write, deliver));
        }
        rows
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
        }
    }

    /// Measures it once, with a server of its own.
    pub(crate) fn measure(&self, binary: &Binary, data_parent: &Path) -> anyhow::Result<Figures> {
        let start = |durability| Server::start(binary, data_parent, durability);
        match self {
            Self::Disk(disk) => disk.measure(data_parent),
            Self::Publish(durability, publish) => publish.measure(&start(*durability)?),
            Self::Deliver(durability, deliver) => deliver.measure(&start(*durability)?),
        }
    }
}
