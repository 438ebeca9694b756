use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use notification_loadgen::Latencies;

use crate::figures::{Figures, figure};

/// How much is written between two syncs: a page of a database.
const PAGE: usize = 4 << 10;

/// How much of the file is written before it starts over, as a write-ahead log does.
const PAGES: usize = 1_000;

const DURATION: Duration = Duration::from_secs(1);
const MAX_SYNCS: u64 = 1_000_000;

/// The disk's own sync rate: one page written over old ones, and `fdatasync`.
/// No server commits more often than that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disk;

impl Disk {
    pub(crate) fn measure(self, dir: &Path) -> anyhow::Result<Figures> {
        let file = tempfile::tempfile_in(dir);
        let file = file.with_context(|| format!("cannot make a file in {}", dir.display()))?;
        file.write_all_at(&vec![0; PAGE * PAGES], 0)?;
        file.sync_all()?;
        let started = Instant::now();
        let latencies = sync_often(&file)?;
        let elapsed = started.elapsed().as_secs_f64();
        Ok(vec![
            figure("syncs/s", latencies.count() as f64 / elapsed),
            figure("p50 ms", latencies.quantile_ms(0.5)),
            figure("p99 ms", latencies.quantile_ms(0.99)),
        ])
    }
}

fn sync_often(file: &File) -> std::io::Result<Latencies> {
    let mut latencies = Latencies::default();
    let started = Instant::now();
    while started.elapsed() < DURATION && latencies.count() < MAX_SYNCS {
        let count = latencies.count();
        let page = [count as u8; PAGE];
        let offset = count % PAGES as u64 * PAGE as u64;
        let began = Instant::now();
        file.write_all_at(&page, offset)?;
        file.sync_data()?;
        latencies.note(began.elapsed());
    }
    Ok(latencies)
}
