use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::peers::Peer;

/// The most deliveries that one run may ask for: an hour of work for a small machine.
const MAX_DELIVERIES: u64 = 100_000_000;

/// The command with which this program becomes the reference.
pub(crate) const WRITER: &str = "reference-writer";

/// Measure the notification server on this machine, beside others of its kind.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The server's binary [default: built from this workspace, release]
    #[arg(long, value_name = "PATH")]
    pub(crate) server: Option<PathBuf>,
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Group>,
    /// Measure only these servers, which have to be there [default: those that are there]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) peers: Vec<Peer>,
    /// How often each row is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub(crate) runs: u32,
    /// For how long rows that deliver are measured, each time; those that publish at most 3, others as long as they take
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) seconds: u64,
    /// One row of delivering with so many open streams, in place of the usual three;
    /// coming back and durable: how many come back, at most 10000; stalled and mcp: at most 1000; access: at most 2000
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=25_000))]
    pub(crate) streams: Option<u64>,
    /// One row of delivering with so many messages a second, in place of the usual three
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) rate: Option<u64>,
    /// Delivering: how large each message is when it is published, in bytes
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(128..=16_384))]
    pub(crate) size: u64,
    /// Topics: the largest number of them, each with an open stream
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=25_000))]
    pub(crate) topics: u64,
    /// Replaying: how many events a stream gets that were published before
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) replay: u64,
    /// Where the servers' data directories are made, and removed [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Write the result to this file, too, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Put the result into this Markdown file, between its lines `<!-- bench -->` and `<!-- /bench -->`
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Draw the most important figures as SVG into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) plots: Option<PathBuf>,
}

/// What this program can be besides a bench.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve streams as simply as can be, for comparison
    #[command(name = WRITER, hide = true)]
    Writer,
}

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Publishing, and the disk's own sync rate
    Publish,
    /// Delivering to open streams
    Deliver,
    /// Streams that come back, and say where they were
    Back,
    /// Delivering while some streams are never read
    Stalled,
    /// Publishing and opening streams, with and without a credential
    Access,
    /// Delivering to sessions of MCP clients, beside plain streams
    Mcp,
    /// Asking what has happened, with nothing new and with a hundred events
    Poll,
    /// Posting events to receivers
    Webhooks,
    /// Publishing to many topics in turn
    Topics,
    /// Reading everything that was published before
    Replay,
    /// Durable clients that come back
    Durable,
}

/// More deliveries than a bench should ask for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--streams × --rate × --seconds is {0} deliveries in a run; at most {MAX_DELIVERIES} are allowed"
)]
pub(crate) struct TooMuch(u64);

impl Cli {
    /// Refuses what is wrong only together; each for itself was checked by clap.
    pub(crate) fn check(&self) -> Result<(), TooMuch> {
        let (streams, rate) = (self.streams.unwrap_or(1_000), self.rate.unwrap_or(100));
        // At most 25,000 × 10,000 × 60, which fits.
        match streams * rate * self.seconds {
            deliveries if deliveries > MAX_DELIVERIES => Err(TooMuch(deliveries)),
            _ => Ok(()),
        }
    }

    pub(crate) fn measures(&self, group: Group) -> bool {
        self.only.is_empty() || self.only.contains(&group)
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    pub(crate) fn data_parent(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_load_is_bounded() {
        let check = |arguments: &str, accepted: bool| {
            let arguments = ["notification-bench"]
                .into_iter()
                .chain(arguments.split_whitespace());
            let parsed = Cli::try_parse_from(arguments.clone());
            let result = parsed.map(|cli| cli.check().is_ok());
            assert_eq!(
                result.unwrap_or(false),
                accepted,
                "{:?}",
                arguments.collect::<Vec<_>>()
            );
        };
        check("", true);
        check(
            "--runs 5 --seconds 10 --streams 10000 --rate 5 --size 1000",
            true,
        );
        check("--only publish,deliver", true);
        check(
            "--only topics,replay,durable,back,stalled,access,mcp,poll,webhooks",
            true,
        );
        check("--peers ours,reference,nchan,mercure,pushpin", true);
        check("--peers theirs", false);
        check("reference-writer", true);
        check("--runs 5 reference-writer", false);
        check("--only nothing", false);
        check("--runs 0", false);
        check("--seconds 0", false);
        check("--seconds 61", false);
        check("--seconds 1.5", false);
        check("--streams 0", false);
        check("--streams 25001", false);
        check("--rate 0", false);
        check("--rate 10001", false);
        check("--topics 25000 --replay 1000000", true);
        check("--topics 0", false);
        check("--topics 25001", false);
        check("--replay 0", false);
        check("--replay 1000001", false);
        check("--size 127", false);
        check("--size 16385", false);
        check("--streams 25000 --rate 10000 --seconds 60", false);
        check("http://example.com", false);
    }

    #[test]
    fn too_much_says_how_much() {
        let arguments = [
            "notification-bench",
            "--streams",
            "20000",
            "--rate",
            "10000",
        ];
        let refusal = Cli::parse_from(arguments).check();
        assert_eq!(refusal, Err(TooMuch(2_000_000_000)));
    }

    #[test]
    fn without_a_choice_everything_is_measured() {
        let everything = Cli::parse_from(["notification-bench"]);
        assert!(everything.measures(Group::Publish) && everything.measures(Group::Deliver));
        let one = Cli::parse_from(["notification-bench", "--only", "deliver"]);
        assert!(!one.measures(Group::Publish) && one.measures(Group::Deliver));
    }
}
