//! The command `bench`: a load on a running server, over its HTTP interface.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::iter;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use notification_loadgen::{
    BadUrl, Delivered, FileLimit, LoadError, Message, Pace, Receivers, Tally, Target, address_of,
    raise_file_limit,
};

/// The most deliveries that may be asked for: some minutes of work for a small machine.
const MAX_DELIVERIES: u64 = 100_000_000;

const MAX_SECONDS: u64 = 3_600;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// How many streams are opened
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=25_000))]
    streams: u64,
    /// How many messages are published in a second
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rate: u64,
    /// How large each message is when it is published, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u64).range(160..=16_384))]
    size: u64,
    /// For how long messages are published, such as 10s or 2m; half a second of warm-up comes before
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// Put the load on a server elsewhere than on this machine: only where that is yours to decide
    #[arg(long)]
    i_own_this_server: bool,
    /// Where the server listens
    #[arg(default_value = "http://127.0.0.1:8005")]
    url: String,
}

/// A whole number of seconds from one to an hour.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed: Option<SignedDuration> = text.parse().ok();
    let duration = parsed.and_then(|duration| Duration::try_from(duration).ok());
    let bounds = Duration::from_secs(1)..=Duration::from_secs(MAX_SECONDS);
    match duration {
        Some(duration) if bounds.contains(&duration) => Ok(duration),
        _ => Err("expected a duration from 1s to 1h, such as 10s or 2m".to_owned()),
    }
}

/// Why a load is not put on a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "--streams × --rate × --duration is {0} deliveries; at most {MAX_DELIVERIES} are allowed"
    )]
    TooMuch(u64),
    #[error(transparent)]
    Url(#[from] BadUrl),
    #[error(
        "{url} is {address}, which is not this machine; with --i-own-this-server a load is put on it all the same"
    )]
    Elsewhere { url: String, address: SocketAddr },
    #[error(transparent)]
    Files(#[from] FileLimit),
}

/// Deliveries went wrong.
#[derive(Debug, thiserror::Error)]
#[error(
    "{lost} deliveries were lost, {duplicated} duplicated, {out_of_order} out of order",
    lost = .0.lost, duplicated = .0.duplicated, out_of_order = .0.out_of_order
)]
pub(crate) struct Wrong(Tally);

/// A load that may be put on its target.
#[derive(Debug)]
pub(crate) struct Bench {
    target: Target,
    streams: usize,
    /// In bytes.
    size: usize,
    pace: Pace,
    /// Only this bench's streams are subscribed to it.
    topic: String,
}

impl TryFrom<&BenchArgs> for Bench {
    type Error = Refusal;

    fn try_from(args: &BenchArgs) -> Result<Self, Refusal> {
        // At most 25,000 × 10,000 × 3,600,000, which fits.
        let deliveries = args.streams * args.rate * args.duration.as_millis() as u64 / 1_000;
        if deliveries > MAX_DELIVERIES {
            return Err(Refusal::TooMuch(deliveries));
        }
        let (address, host) = address_of(&args.url)?;
        if !address.ip().is_loopback() && !args.i_own_this_server {
            let url = args.url.clone();
            return Err(Refusal::Elsewhere { url, address });
        }
        let streams = args.streams as usize;
        raise_file_limit(streams)?;
        Ok(Self {
            target: Target::own(address, host),
            streams,
            size: args.size as usize,
            pace: Pace {
                rate: args.rate,
                duration: args.duration,
            },
            topic: format!("bench/{:016x}", RandomState::new().hash_one(())),
        })
    }
}

/// What is about to happen, on one line.
impl fmt::Display for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            target,
            streams,
            size,
            pace: Pace { rate, duration },
            topic,
        } = self;
        write!(
            f,
            "{streams} streams × {rate} messages/s × {size} B for {duration:?} on http://{target}, topic {topic}"
        )
    }
}

impl Bench {
    /// Blocks for the duration, half a second of warm-up, and, if something
    /// does not arrive, ten seconds more.
    pub(crate) fn run(&self) -> Result<Outcome, LoadError> {
        let path = format!("/v1/stream?topic={}", self.topic);
        let mut receivers = Receivers::open(&self.target, iter::repeat_n(path, self.streams))?;
        let message = Message::new(&self.target, self.size).on(&self.topic);
        let (delivered, ()) = self
            .pace
            .run(&self.target, &message, &mut receivers, || ())?;
        Ok(Outcome {
            delivered,
            broken: receivers.broken(),
        })
    }
}

/// What came of a load.
#[derive(Debug)]
pub(crate) struct Outcome {
    delivered: Delivered,
    /// How many streams ended before they should.
    broken: usize,
}

impl Outcome {
    /// Refuses one in which deliveries went wrong.
    pub(crate) fn check(&self) -> Result<(), Wrong> {
        let tally = self.delivered.tally;
        match tally.is_clean() {
            true => Ok(()),
            false => Err(Wrong(tally)),
        }
    }
}

/// One figure a line. Latencies count from when a message was due.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Delivered {
            latencies, tally, ..
        } = &self.delivered;
        let mut line = |name: &str, value: String| writeln!(f, "{name:<16}{value:>14}");
        let per_second = |value: f64| format!("{value:.0}");
        line(
            "deliveries/s",
            per_second(self.delivered.deliveries_per_second()),
        )?;
        line(
            "published/s",
            per_second(self.delivered.published_per_second()),
        )?;
        line("p50 ms", format!("{:.2}", latencies.quantile_ms(0.5)))?;
        line("p99 ms", format!("{:.2}", latencies.quantile_ms(0.99)))?;
        line("max ms", format!("{:.2}", latencies.max_ms()))?;
        line("lost", tally.lost.to_string())?;
        line("duplicated", tally.duplicated.to_string())?;
        line("out of order", tally.out_of_order.to_string())?;
        match self.broken {
            0 => Ok(()),
            broken => line("broken streams", broken.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_bounded() {
        let check = |text: &str, expected: Option<u64>| {
            let parsed = parse_duration(text).ok();
            assert_eq!(parsed, expected.map(Duration::from_secs), "{text}");
        };
        check("1s", Some(1));
        check("10s", Some(10));
        check("2m", Some(120));
        check("1h", Some(3_600));
        check("0s", None);
        check("61m", None);
        check("-5s", None);
        check("10", None);
        check("", None);
        check("soon", None);
    }

    #[test]
    fn what_went_wrong_is_an_error() {
        let tally = Tally {
            lost: 1,
            duplicated: 2,
            out_of_order: 3,
        };
        assert_eq!(
            Wrong(tally).to_string(),
            "1 deliveries were lost, 2 duplicated, 3 out of order"
        );
    }
}
