//! Measures the notification server: how fast it publishes, what it costs to
//! deliver, and how others of its kind do on the same machine.
//!
//! One command starts a fresh server for every row, peer and run, drives it over
//! loopback sockets, checks every delivery, and prints medians. `README.md`
//! beside this crate says how to read them.
//!
//! - [`row`]: what is measured, one [`Row`] at a time; start reading there.
//! - [`peers`]: what is compared, one file each; [`writer`]: the process behind the reference.
//! - [`server`]: ours: the binary, and one running server; [`setup`]: what starting one takes.
//! - [`deliver`], [`back`], [`publish`], [`access`], [`topics`], [`replay`] and [`durable`]: the loads;
//!   [`stalled`]: streams that nobody reads; [`disk`]: what the disk could do at best.
//! - [`figures`]: what comes out of a run, and of several; [`report`], [`markdown`] and
//!   [`plots`]: how it is shown.
//!
//! The load itself is the crate `notification-loadgen`'s. All this knows nothing of
//! the server's inside: only its command line, its HTTP interface, `/metrics`, and
//! what Linux says about its process.

mod access;
mod back;
mod cli;
mod deliver;
mod disk;
mod durable;
mod figures;
mod machine;
mod markdown;
mod mcp;
mod peers;
mod plots;
mod poll;
mod process;
mod publish;
mod replay;
mod report;
mod row;
mod server;
mod setup;
mod stalled;
mod topics;
mod webhooks;
mod writer;

use std::path::Path;

use anyhow::{Context, bail};
use clap::Parser;
use notification_loadgen::raise_file_limit;

use crate::cli::{Cli, Command};
use crate::figures::Figures;
use crate::machine::Machine;
use crate::markdown::Document;
use crate::peers::Peer;
use crate::report::{Measured, Report};
use crate::row::Row;
use crate::server::Binary;
use crate::setup::Setup;

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if let Some(Command::Writer) = cli.command {
        return writer::serve();
    }
    cli.check()?;
    // What cannot be written is better known before all that is measured.
    let document = cli.markdown.as_deref().map(Document::open).transpose()?;
    if let Some(dir) = cli.json.as_deref().and_then(Path::parent) {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let rows = Row::all(&cli);
    let connections = rows.iter().map(Row::streams).max().unwrap_or_default();
    raise_file_limit(connections)?;
    let setup = Setup {
        binary: Binary::find(cli.server.as_deref())?,
        data_parent: cli.data_parent(),
        connections,
    };
    let peers = Peer::find(&cli.peers, &setup)?;
    let report = Report {
        machine: Machine::look(&setup.data_parent)?,
        runs: cli.runs,
        seconds: cli.seconds,
        notes: report::NOTES,
        rows: measure(&cli, &rows, &peers, &setup)?,
        peers,
    };
    print!("{report}");
    if let Some(file) = &cli.json {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let plots = match &cli.plots {
        Some(dir) => plots::draw(&report, dir)?,
        None => Vec::new(),
    };
    if let Some(document) = document {
        document.put(&report, &plots)?;
    }
    match report.went_wrong() {
        Some(row) => bail!("{row}: ours lost, duplicated or disordered something"),
        None => Ok(()),
    }
}

/// Interleaved: what disturbs the machine for a while disturbs all rows and
/// peers, not one.
fn measure(
    cli: &Cli,
    rows: &[Row],
    peers: &[(Peer, String)],
    setup: &Setup,
) -> anyhow::Result<Vec<Measured>> {
    let has = |peer: &Peer| peers.iter().any(|(found, _)| found == peer);
    let pairs = rows.iter().flat_map(|row| {
        let measured = row.peers().iter().filter(|peer| has(peer));
        measured.map(move |peer| (row, *peer))
    });
    let mut all: Vec<(&Row, Peer, Vec<Figures>)> =
        pairs.map(|(row, peer)| (row, peer, Vec::new())).collect();
    for run in 1..=cli.runs {
        for (row, peer, runs) in &mut all {
            let what = format!("{} ({})", row.name(), peer.name());
            eprintln!("run {run} of {}: {what}", cli.runs);
            match row.measure(*peer, setup) {
                Ok(figures) => runs.push(figures),
                // Another's failure is a result, unless it was asked for by name.
                Err(error) if *peer != Peer::Ours && cli.peers.is_empty() => {
                    eprintln!("  failed: {error:#}");
                }
                Err(error) => return Err(error).context(what),
            }
        }
    }
    let mut measured = Vec::new();
    for row in rows {
        let runs = |peer: Peer| {
            let mut all = all.iter();
            let found = all.find(|(other, of, _)| other.name() == row.name() && *of == peer);
            found.map(|(.., runs)| &runs[..])
        };
        for peer in row.peers() {
            let ours = runs(Peer::Ours).filter(|_| *peer != Peer::Ours);
            measured.extend(runs(*peer).map(|runs| Measured::new(row, *peer, runs, ours)));
        }
        for (peer, why) in row.unable().iter().filter(|(peer, _)| has(peer)) {
            measured.push(Measured::unable(row, *peer, why));
        }
    }
    Ok(measured)
}
