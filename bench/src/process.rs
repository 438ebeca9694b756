use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::figures::{Figure, figure};

/// File descriptors that are needed beside those of the streams.
const OTHER_FILES: u64 = 200;

/// Raises this process's limit of open files, which the servers it starts
/// inherit, so that each can hold `streams` connections.
pub(crate) fn raise_file_limit(streams: usize) -> anyhow::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = streams as u64 + OTHER_FILES;
    if maximum.is_some_and(|maximum| maximum < needed) {
        bail!(
            "{streams} streams need {needed} open files, and the hard limit is {maximum:?}; raise it with `ulimit -Hn`"
        );
    }
    if current.is_some_and(|current| current < needed) {
        let raised = Rlimit {
            current: Some(needed),
            maximum,
        };
        setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")?;
    }
    Ok(())
}

/// What Linux tells about a process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    dir: PathBuf,
}

impl Process {
    pub(crate) fn of(pid: u32) -> Self {
        Self {
            dir: format!("/proc/{pid}").into(),
        }
    }

    /// The load generator.
    pub(crate) fn own() -> Self {
        Self::of(std::process::id())
    }

    /// The processor time of all its threads since it started, in user and
    /// kernel mode. Counted by Linux in ticks, usually of 10 ms.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let found = cpu_ticks(&self.read("stat")?);
        found
            .map(ticks)
            .context("/proc/PID/stat: no processor times")
    }

    /// Its resident memory, in bytes: counted page by page, unlike the estimate
    /// in `/proc/PID/statm`.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let text = self.read("smaps_rollup")?;
        resident(&text).context("/proc/PID/smaps_rollup: no Rss")
    }

    fn read(&self, file: &str) -> anyhow::Result<String> {
        let path = self.dir.join(file);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }
}

/// Who used the processors since a moment.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    server: Process,
    since: Used,
}

/// Processor time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) server: Duration,
    pub(crate) generator: Duration,
    /// Other processes, the kernel's own work, and what the hypervisor took:
    /// what should not be there when something is measured.
    pub(crate) others: Duration,
}

impl Meter {
    pub(crate) fn start(server: Process) -> anyhow::Result<Self> {
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
        [
            figure("load generator CPU %", share(self.generator)),
            figure("others' CPU %", share(self.others)),
        ]
    }

    fn now(server: &Process) -> anyhow::Result<Self> {
        let (server, generator) = (server.cpu()?, Process::own().cpu()?);
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

fn resident(smaps_rollup: &str) -> Option<u64> {
    let line = smaps_rollup
        .lines()
        .find_map(|line| line.strip_prefix("Rss:"))?;
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
    }

    #[test]
    fn a_processor_that_is_idle_or_waits_is_not_busy() {
        let stat = "cpu  1 2 4 1000 1000 8 16 32 1000 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy_ticks(stat), Some(63));
        assert_eq!(busy_ticks("intr 1"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        let text = "55 ---p 00000000 00:00 0 [rollup]\nRss:                1234 kB\nPss: 1 kB\n";
        assert_eq!(resident(text), Some(1234 * 1024));
    }

    #[test]
    fn this_process_has_both() {
        let own = Process::own();
        own.cpu().unwrap();
        assert!(own.resident().unwrap() > 0);
    }
}
