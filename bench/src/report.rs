use std::fmt;

use serde::Serialize;

use crate::figures::{Figures, Spread};
use crate::machine::Machine;

/// What everyone who reads the figures has to know.
pub(crate) const NOTES: &[&str] = &[
    "The load generator runs on the same cores as the server, and takes from it; its own share is shown, and that of everything else, which should be near 0.",
    "Latencies of deliveries count from when a message was due, so a server that falls behind shows it.",
    "Compare versions by ratios of medians from interleaved runs on one machine (bench/README.md).",
];

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) version: String,
    pub(crate) machine: Machine,
    pub(crate) runs: u32,
    pub(crate) seconds: u64,
    pub(crate) notes: &'static [&'static str],
    pub(crate) rows: Vec<Measured>,
}

/// One row over several runs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    name: String,
    figures: Vec<Spread>,
}

impl Measured {
    pub(crate) fn new(name: String, runs: Vec<Figures>) -> Self {
        Self {
            name,
            figures: Spread::of(&runs),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}", self.version, self.machine)?;
        writeln!(f, "{} runs of {} s for each row\n", self.runs, self.seconds)?;
        line(f, "", ["median", "min", "max"].map(str::to_owned))?;
        for row in &self.rows {
            writeln!(f, "{}", row.name)?;
            for Spread {
                name,
                median,
                min,
                max,
                ..
            } in &row.figures
            {
                line(
                    f,
                    &format!("  {name}"),
                    [median, min, max].map(|value| number(*value)),
                )?;
            }
        }
        writeln!(f)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, values: [String; 3]) -> fmt::Result {
    let [median, min, max] = values;
    writeln!(f, "{name:<36}{median:>14}{min:>14}{max:>14}")
}

/// A number with as many digits as mean something.
fn number(value: f64) -> String {
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
