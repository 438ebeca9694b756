use std::fmt;

use serde::Serialize;

use crate::figures::{Figures, Ratio, Spread, WRONG};
use crate::machine::Machine;
use crate::peers::Peer;
use crate::row::{Row, Shown};

/// What everyone who reads the figures has to know.
pub(crate) const NOTES: &[&str] = &[
    "The load generator runs on the same cores as the server, and takes from it; its own share is shown, and that of everything else, which should be near 0.",
    "Latencies of deliveries count from when a message was due, so a server that falls behind shows it. What has not arrived ten seconds after the last message counts as lost.",
    "A ratio is ours divided by the peer's, of medians; beside it the smallest and the largest of runs next to each other.",
    "Compare versions by ratios of medians from interleaved runs on one machine (bench/README.md).",
];

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// With their versions.
    pub(crate) peers: Vec<(Peer, String)>,
    pub(crate) machine: Machine,
    pub(crate) runs: u32,
    pub(crate) seconds: u64,
    pub(crate) notes: &'static [&'static str],
    pub(crate) rows: Vec<Measured>,
}

/// One row with one peer, over several runs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) peer: Peer,
    /// Why this peer is not measured in this row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unable: Option<&'static str>,
    /// None if no run succeeded, or none was made.
    pub(crate) figures: Vec<Spread>,
    /// Of ours to this peer's.
    pub(crate) ratios: Vec<Ratio>,
    #[serde(skip)]
    pub(crate) shown: Vec<Shown>,
}

impl Measured {
    /// What `runs` came to, compared with `ours`.
    pub(crate) fn new(row: &Row, peer: Peer, runs: &[Figures], ours: Option<&[Figures]>) -> Self {
        let figures = Spread::of(runs);
        let ours = ours.map(Spread::of).unwrap_or_default();
        let both = ours.iter().zip(&figures);
        Self {
            name: row.name(),
            peer,
            unable: None,
            ratios: both
                .filter_map(|(ours, peer)| Ratio::of(ours, peer))
                .collect(),
            figures,
            shown: row.shown(),
        }
    }

    /// What stands for a peer that cannot do what `row` asks for.
    pub(crate) fn unable(row: &Row, peer: Peer, why: &'static str) -> Self {
        Self {
            unable: Some(why),
            ..Self::new(row, peer, &[], None)
        }
    }

    /// The figure of that name.
    pub(crate) fn figure(&self, name: &str) -> Option<&Spread> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// How ours compares in it.
    pub(crate) fn ratio(&self, name: &str) -> Option<&Ratio> {
        self.ratios.iter().find(|ratio| ratio.name == name)
    }
}

impl Report {
    /// What was measured, and how often.
    pub(crate) fn header(&self) -> Vec<String> {
        let peers = self.peers.iter();
        let peers = peers.map(|(peer, version)| format!("{}: {version}", peer.name()));
        let runs = format!(
            "{} runs, {} s for each row that delivers",
            self.runs, self.seconds
        );
        peers.chain([self.machine.to_string(), runs]).collect()
    }

    /// The first row in which ours did not deliver everything once and in order.
    pub(crate) fn went_wrong(&self) -> Option<&str> {
        let mut ours = self.rows.iter().filter(|row| row.peer == Peer::Ours);
        let wrong = ours.find(|row| {
            let checks = row.figures.iter().filter(|f| WRONG.contains(&f.name));
            checks.map(|figure| figure.max).sum::<f64>() > 0.0
        });
        wrong.map(|row| row.name.as_str())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header()
            .iter()
            .try_for_each(|line| writeln!(f, "{line}"))?;
        writeln!(f)?;
        let columns = ["median", "min", "max"].map(str::to_owned);
        line(f, "", &columns, "   ours ÷ peer (min – max)")?;
        for row in &self.rows {
            writeln!(f, "{} ({})", row.name, row.peer.name())?;
            match row.unable {
                Some(why) => writeln!(f, "  cannot do it: {why}")?,
                None if row.figures.is_empty() => writeln!(f, "  failed")?,
                None => {}
            }
            for figure in &row.figures {
                let values = [figure.median, figure.min, figure.max].map(number);
                let ratio = row.ratio(figure.name);
                let ratio = ratio.map(|ratio| format!("   {ratio}")).unwrap_or_default();
                line(f, &format!("  {}", figure.name), &values, &ratio)?;
            }
        }
        writeln!(f)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

/// `0.35 (0.33 – 0.41)`
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            median, min, max, ..
        } = self;
        write!(f, "{median:.2} ({min:.2} – {max:.2})")
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, values: &[String; 3], ratio: &str) -> fmt::Result {
    let [median, min, max] = values;
    writeln!(f, "{name:<32}{median:>12}{min:>12}{max:>12}{ratio}")
}

/// A number with as many digits as mean something.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        small if small < 10.0 => format!("{value:.3}"),
        medium if medium < 1_000.0 => format!("{value:.1}"),
        _ => thousands(value.round() as i64),
    }
}

fn thousands(value: i64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && digit.is_ascii_digit() && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_need_to_be() {
        let check = |value: f64, expected: &str| assert_eq!(number(value), expected);
        check(0.0, "0");
        check(0.012_34, "0.012");
        check(3.415_9, "3.416");
        check(64.04, "64.0");
        check(999.94, "999.9");
        check(1_000.4, "1,000");
        check(99_999.6, "100,000");
        check(1_234_567.0, "1,234,567");
    }
}
