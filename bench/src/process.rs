use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors that are needed beside those of the streams.
const OTHER_FILES: u64 = 200;

/// Raises this process's limit of open files, which the servers it starts
/// inherit, so that each can hold `streams` connections.
pub(crate) fn raise_file_limit(streams: u64) -> anyhow::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = streams + OTHER_FILES;
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
        let ticks = cpu_ticks(&self.read("stat")?).context("/proc/PID/stat: no processor times")?;
        let ticks_per_second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_secs_f64(
            ticks as f64 / ticks_per_second as f64,
        ))
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
