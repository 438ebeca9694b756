//! Measures the notification server: how fast it publishes, and what it costs
//! to deliver.
//!
//! One command starts a fresh server for every row and run, drives it over
//! loopback sockets, checks every delivery, and prints medians. `README.md`
//! beside this crate says how to read them.
//!
//! - [`row`]: what is measured, one [`Row`] at a time; start reading there.
//! - [`server`]: the server's binary, and one running server.
//! - [`publish`], [`deliver`], [`topics`], [`replay`] and [`durable`]: the loads;
//!   [`disk`]: what the disk could do at best.
//! - [`receivers`]: many open streams, and the check of each; [`connection`]: one request
//!   after the other.
//! - [`http`], [`message`] and [`sequence`]: the little of HTTP and of the events that a
//!   load generator has to understand, for as few cycles as possible.
//! - [`figures`]: what comes out of a run, and of several; [`report`]: how it is shown.
//!
//! It knows nothing of the server's inside: only its command line, its HTTP
//! interface, `/metrics`, and what Linux says about its process.

mod cli;
mod connection;
mod deliver;
mod disk;
mod durable;
mod figures;
mod http;
mod machine;
mod message;
mod process;
mod publish;
mod receivers;
mod replay;
mod report;
mod row;
mod sequence;
mod server;
mod topics;

use anyhow::Context;
use clap::Parser;

use crate::cli::Cli;
use crate::figures::Figures;
use crate::machine::Machine;
use crate::report::{Measured, Report};
use crate::row::Row;
use crate::server::Binary;

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    cli.check()?;
    let data_parent = cli.data_parent();
    let rows = Row::all(&cli);
    process::raise_file_limit(rows.iter().map(Row::streams).max().unwrap_or_default())?;
    let binary = Binary::find(cli.server.as_deref())?;

    let mut runs: Vec<Vec<Figures>> = rows.iter().map(|_| Vec::new()).collect();
    // Interleaved: what disturbs the machine for a while disturbs all rows, not one.
    for run in 1..=cli.runs {
        for (row, runs) in rows.iter().zip(&mut runs) {
            eprintln!("run {run} of {}: {}", cli.runs, row.name());
            let figures = row.measure(&binary, &data_parent);
            runs.push(figures.with_context(|| row.name())?);
        }
    }

    let rows = rows.iter().zip(runs);
    let report = Report {
        version: binary.version()?,
        machine: Machine::look(&data_parent)?,
        runs: cli.runs,
        seconds: cli.seconds,
        notes: report::NOTES,
        rows: rows
            .map(|(row, runs)| Measured::new(row.name(), runs))
            .collect(),
    };
    print!("{report}");
    if let Some(file) = &cli.json {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
