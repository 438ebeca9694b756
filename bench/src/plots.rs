use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use svg::Document;
use svg::node::element::{Group, Line, Rectangle, Text};

use crate::figures::Spread;
use crate::peers::Peer;
use crate::report::{Report, number};
use crate::row::Shown;

/// What is drawn: the file, and what stands above the bars.
const PLOTS: [(&str, &str); 6] = [
    (
        "cpu",
        "Processor time of the server, in seconds per million deliveries",
    ),
    ("p99", "99% of deliveries within so many milliseconds"),
    (
        "opening",
        "Processor time of the server, in microseconds per opened stream",
    ),
    ("memory", "Memory of the server, in KB per idle stream"),
    ("back", "All have caught up after so many milliseconds"),
    (
        "access",
        "Processor time of the server, in microseconds per publish or opened stream",
    ),
];

/// Legible on white and on black alike.
const TEXT: &str = "#7d8590";

const WIDTH: f64 = 760.0;
const TOP: f64 = 44.0;
const ROW: f64 = 26.0;
const BAR: f64 = 16.0;
/// Where the bars begin.
const LEFT: f64 = 330.0;
/// How long the longest whisker is.
const LONGEST: f64 = 330.0;

/// A picture that was drawn.
#[derive(Debug)]
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    pub(crate) path: PathBuf,
}

/// One bar.
struct Bar<'a> {
    label: String,
    peer: Peer,
    spread: &'a Spread,
}

/// Draws those of which something was measured.
pub(crate) fn draw(report: &Report, dir: &Path) -> anyhow::Result<Vec<Plot>> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mut plots = Vec::new();
    for (name, title) in PLOTS {
        let bars = bars(report, name);
        if bars.is_empty() {
            continue;
        }
        let path = dir.join(format!("{name}.svg"));
        let written = svg::save(&path, &document(title, &bars));
        written.with_context(|| format!("cannot write {}", path.display()))?;
        plots.push(Plot { title, path });
    }
    Ok(plots)
}

fn bars<'a>(report: &'a Report, plot: &str) -> Vec<Bar<'a>> {
    let mut bars = Vec::new();
    for row in &report.rows {
        let shown: Vec<_> = row.shown.iter().filter(|s| s.plot == plot).collect();
        for Shown { figure, .. } in &shown {
            // Where one row has several bars, they are of one peer.
            let what = match shown.len() {
                1 => row.peer.name(),
                _ => figure.split(':').next().unwrap_or(figure),
            };
            bars.extend(row.figure(figure).map(|spread| Bar {
                label: format!("{}: {what}", row.name),
                peer: row.peer,
                spread,
            }));
        }
    }
    bars
}

/// Horizontal bars of the medians, with whiskers from the smallest to the largest.
fn document(title: &str, bars: &[Bar<'_>]) -> Document {
    let height = TOP + ROW * bars.len() as f64 + 8.0;
    let largest = bars.iter().map(|bar| bar.spread.max).fold(0.0, f64::max);
    let scale = match largest > 0.0 {
        true => LONGEST / largest,
        false => 0.0,
    };
    let document = Document::new()
        .set("viewBox", (0.0, 0.0, WIDTH, height))
        .set("width", WIDTH)
        .set("height", height)
        .set("role", "img")
        .set("font-family", "system-ui, sans-serif")
        .set("font-size", 13)
        .add(text(title, 8.0, 22.0).set("font-weight", "bold"));
    let rows = bars.iter().enumerate();
    rows.fold(document, |document, (index, bar)| {
        document.add(row(bar, TOP + ROW * index as f64, scale))
    })
}

fn row(bar: &Bar<'_>, top: f64, scale: f64) -> Group {
    let middle = top + BAR / 2.0;
    let at = |value: f64| LEFT + value * scale;
    let Spread {
        median, min, max, ..
    } = bar.spread;
    let line = |from: (f64, f64), to: (f64, f64)| {
        Line::new()
            .set("x1", from.0)
            .set("y1", from.1)
            .set("x2", to.0)
            .set("y2", to.1)
            .set("stroke", TEXT)
            .set("stroke-width", 1.5)
    };
    let end = |value: f64| line((at(value), middle - 4.0), (at(value), middle + 4.0));
    let filled = Rectangle::new()
        .set("x", LEFT)
        .set("y", top)
        .set("width", median * scale)
        .set("height", BAR)
        .set("fill", color(bar.peer));
    Group::new()
        .add(text(&bar.label, LEFT - 8.0, middle + 4.5).set("text-anchor", "end"))
        .add(filled)
        .add(line((at(*min), middle), (at(*max), middle)))
        .add(end(*min))
        .add(end(*max))
        .add(text(&number(*median), at(*max) + 8.0, middle + 4.5))
}

fn text(content: &str, x: f64, y: f64) -> Text {
    Text::new(content).set("x", x).set("y", y).set("fill", TEXT)
}

fn color(peer: Peer) -> &'static str {
    match peer {
        Peer::Ours => "#3b82f6",
        Peer::Reference => "#9ca3af",
        Peer::Nchan => "#d97706",
        Peer::Mercure => "#8b5cf6",
        Peer::Pushpin => "#059669",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_median() {
        let spread = |runs: &[f64]| Spread::new("x", runs.to_vec());
        let (long, short) = (spread(&[80.0, 90.0, 100.0]), spread(&[0.0]));
        let bar = |peer, spread| Bar {
            label: "a <row>".to_owned(),
            peer,
            spread,
        };
        let bars = [bar(Peer::Ours, &long), bar(Peer::Nchan, &short)];
        let text = document("Title", &bars).to_string();
        let width = format!("width=\"{}\"", 90.0 * LONGEST / 100.0);
        assert!(text.contains(&width), "{text}");
        assert!(text.contains("width=\"0\""), "{text}");
        assert!(text.contains("a &lt;row&gt;"), "{text}");
        let nothing = [bar(Peer::Ours, &short)];
        assert!(!document("Title", &nothing).to_string().contains("NaN"));
    }
}
