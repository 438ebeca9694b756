use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::figures::Spread;
use crate::plots::Plot;
use crate::report::{Measured, Report, number};

const BEGIN: &str = "<!-- bench -->\n";
const END: &str = "<!-- /bench -->\n";

/// A Markdown file, of which one part is written by the bench.
#[derive(Debug)]
pub(crate) struct Document {
    path: PathBuf,
    before: String,
    behind: String,
}

impl Document {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or has no such part.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("--markdown: cannot read {}", path.display()))?;
        let (before, behind) = around(&text).with_context(|| {
            format!(
                "--markdown: expected the lines {} and {} in {}",
                BEGIN.trim_end(),
                END.trim_end(),
                path.display()
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
            before: before.to_owned(),
            behind: behind.to_owned(),
        })
    }

    /// Replaces that part.
    pub(crate) fn put(&self, report: &Report, plots: &[Plot]) -> anyhow::Result<()> {
        let Self {
            path,
            before,
            behind,
        } = self;
        let dir = path.parent().unwrap_or(Path::new(""));
        let part = part(report, plots, dir);
        fs::write(path, format!("{before}{BEGIN}\n{part}\n{END}{behind}"))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// What stands before the part, and what behind it.
fn around(text: &str) -> Option<(&str, &str)> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, behind) = rest.split_once(END)?;
    Some((before, behind))
}

/// The header, the pictures, and a table for each row.
fn part(report: &Report, plots: &[Plot], dir: &Path) -> String {
    let mut text = String::new();
    for line in report.header() {
        let _ = writeln!(text, "- {line}");
    }
    for plot in plots {
        let path = plot.path.strip_prefix(dir).unwrap_or(&plot.path);
        let _ = write!(text, "\n![{}]({})\n", plot.title, path.display());
    }
    for rows in report.rows.chunk_by(|one, next| one.name == next.name) {
        let _ = write!(text, "\n### {}\n\n{}", rows[0].name, table(rows));
    }
    text
}

/// The peers' figures side by side, and what ours are of theirs; and below who
/// has none.
fn table(rows: &[Measured]) -> String {
    let (rows, unable): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.unable.is_none());
    let mut text = match rows.is_empty() {
        true => String::new(),
        false => figures(&rows),
    };
    for row in unable {
        let why = row.unable.unwrap_or_default();
        let _ = writeln!(text, "\n{} cannot do it: {why}.", row.peer.name());
    }
    text
}

fn figures(rows: &[&Measured]) -> String {
    let compared: Vec<_> = rows.iter().filter(|row| !row.ratios.is_empty()).collect();
    let peers = rows.iter().map(|row| row.peer.name().to_owned());
    let ratios = compared
        .iter()
        .map(|row| format!("ours ÷ {}", row.peer.name()));
    let header: Vec<_> = peers.chain(ratios).collect();
    let mut text = format!("| |{}|\n", header.join("|"));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(header.len()));
    let longest = rows.iter().max_by_key(|row| row.figures.len());
    for Spread { name, .. } in longest.map_or(&[][..], |row| &row.figures) {
        let figures = rows.iter().map(|row| match row.figure(name) {
            Some(Spread {
                median, min, max, ..
            }) if min < max => {
                format!("{} ({} – {})", number(*median), number(*min), number(*max))
            }
            Some(Spread { median, .. }) => number(*median),
            None => "failed".to_owned(),
        });
        let ratios = compared.iter().map(|row| match row.ratio(name) {
            Some(ratio) => ratio.to_string(),
            None => String::new(),
        });
        let cells: Vec<_> = figures.chain(ratios).collect();
        let _ = writeln!(text, "|{name}|{}|", cells.join("|"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = "before\n<!-- bench -->\nold\n<!-- /bench -->\nbehind\n";
        assert_eq!(around(text), Some(("before\n", "behind\n")));
        assert_eq!(around("<!-- /bench -->\n<!-- bench -->\n"), None);
        assert_eq!(around("<!-- bench -->\n"), None);
        assert_eq!(around(""), None);
    }
}
