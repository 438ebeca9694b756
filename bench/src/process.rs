use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::figures::{Figure, SHARES, figure};

/// What Linux tells about one process, or about several that are one server.
#[derive(Clone, Debug)]
pub(crate) struct Processes {
    dirs: Vec<PathBuf>,
}

impl Processes {
    pub(crate) fn of(pids: &[u32]) -> Self {
        Self {
            dirs: pids
                .iter()
                .map(|pid| format!("/proc/{pid}").into())
                .collect(),
        }
    }

    /// The process of that id, and those that it has started.
    pub(crate) fn family(pid: u32) -> anyhow::Result<Self> {
        let mut pids = vec![pid];
        for entry in std::fs::read_dir("/proc").context("cannot read /proc")? {
            let name = entry.context("cannot read /proc")?.file_name();
            let Some(candidate) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // One that has ended since is nobody's child.
            let stat = std::fs::read_to_string(format!("/proc/{candidate}/stat"));
            if stat.is_ok_and(|stat| parent(&stat) == Some(pid)) {
                pids.push(candidate);
            }
        }
        Ok(Self::of(&pids))
    }

    /// The load generator.
    pub(crate) fn own() -> Self {
        Self::of(&[std::process::id()])
    }

    pub(crate) fn count(&self) -> usize {
        self.dirs.len()
    }

    /// The processor time of all their threads since they started, in user and
    /// kernel mode. Counted by Linux in ticks, usually of 10 ms.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let times = self.dirs.iter().map(|dir| {
            let found = cpu_ticks(&read(dir, "stat")?);
            found
                .map(ticks)
                .context("/proc/PID/stat: no processor times")
        });
        times.sum()
    }

    /// Their memory, in bytes: counted page by page, unlike the estimate in
    /// `/proc/PID/statm`, and what several share is counted once (Pss).
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        let sizes = self.dirs.iter().map(|dir| {
            let text = read(dir, "smaps_rollup")?;
            proportional(&text).context("/proc/PID/smaps_rollup: no Pss")
        });
        sizes.sum()
    }
}

fn read(dir: &Path, file: &str) -> anyhow::Result<String> {
    let path = dir.join(file);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Who used the processors since a moment.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    server: Processes,
    since: Used,
}

/// Processor time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    pub(crate) server: Duration,
    pub(crate) generator: Duration,
    /// Other processes, the kernel's own work, and what the hypervisor took:
    /// what should not be there when something is measured.
    pub(crate) others: Duration,
}

impl Meter {
    pub(crate) fn start(server: Processes) -> anyhow::Result<Self> {
        let since = Used::now(&server)?;
        Ok(Self { server, since })
    }

    pub(crate) fn used(&self) -> anyhow::Result<Used> {
        let (now, since) = (Used::now(&self.server)?, self.since);
        Ok(Used {
            server: now.server.saturating_sub(since.server),
            generator: now.generator.saturating_sub(since.generator),
            others: now.others.saturating_sub(since.others),
        })
    }
}

impl Used {
    /// What tells how far a measurement that took so long can be trusted, in
    /// percent of one core.
    pub(crate) fn shares(&self, elapsed: Duration) -> [Figure; 2] {
        let share = |used: Duration| used.as_secs_f64() / elapsed.as_secs_f64() * 100.0;
        let [generator, others] = SHARES;
        [
            figure(generator, share(self.generator)),
            figure(others, share(self.others)),
        ]
    }

    fn now(server: &Processes) -> anyhow::Result<Self> {
        let (server, generator) = (server.cpu()?, Processes::own().cpu()?);
        let stat = std::fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        let all = busy_ticks(&stat).context("/proc/stat: no processor times")?;
        let others = ticks(all).saturating_sub(server + generator);
        Ok(Self {
            server,
            generator,
            others,
        })
    }
}

impl AddAssign for Used {
    fn add_assign(&mut self, more: Self) {
        self.server += more.server;
        self.generator += more.generator;
        self.others += more.others;
    }
}

/// All but idle and waiting, of all processors (proc_stat(5)). Guests are in user.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let times: Option<Vec<u64>> = line
        .split_whitespace()
        .map(|time| time.parse().ok())
        .collect();
    let times = times?;
    Some(times.iter().take(3).sum::<u64>() + times.iter().skip(5).take(3).sum::<u64>())
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// utime + stime: the 14th and 15th field (proc(5)). The second is a name in
/// parentheses that may contain anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut times = after_name.split_whitespace().skip(11);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    Some(user + system)
}

/// The fourth field, which is the second behind the name.
fn parent(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

fn proportional(smaps_rollup: &str) -> Option<u64> {
    let line = smaps_rollup
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_times_are_found_behind_any_name() {
        let stat = "42 (a ) (b) R 1 2 3 4 5 6 7 8 9 10 700 30 0 0 20 0 1 0";
        assert_eq!(cpu_ticks(stat), Some(730));
        assert_eq!(cpu_ticks("42 (x) R 1"), None);
        assert_eq!(parent(stat), Some(1));
    }

    #[test]
    fn a_processor_that_is_idle_or_waits_is_not_busy() {
        let stat = "cpu  1 2 4 1000 1000 8 16 32 1000 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy_ticks(stat), Some(63));
        assert_eq!(busy_ticks("intr 1"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let text = "55 ---p 00000000 00:00 0 [rollup]\nRss: 2 kB\nPss:            1234 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(proportional(text), Some(1234 * 1024));
    }

    #[test]
    fn this_process_has_both() {
        let own = Processes::own();
        own.cpu().unwrap();
        assert!(own.memory().unwrap() > 0);
    }
}
