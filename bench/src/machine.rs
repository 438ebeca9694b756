use std::fs::read_to_string;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

/// What the figures were measured on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
    /// Where the servers' data directories were.
    data_dir: String,
    file_system: String,
}

impl Machine {
    pub(crate) fn look(data_dir: &Path) -> anyhow::Result<Self> {
        let data_dir = data_dir
            .canonicalize()
            .context("--data-dir: expected a directory")?;
        let mounts = read_to_string("/proc/self/mountinfo")?;
        let unknown = || "unknown".to_owned();
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            processor: processor(&read_to_string("/proc/cpuinfo")?).unwrap_or_else(unknown),
            kernel: read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            file_system: file_system(&mounts, &data_dir).unwrap_or_else(unknown),
            data_dir: data_dir.display().to_string(),
        })
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            cores,
            processor,
            kernel,
            data_dir,
            file_system,
        } = self;
        write!(
            f,
            "{cores} cores, {processor}, Linux {kernel}, data on {file_system} ({data_dir})"
        )
    }
}

fn processor(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
}

/// The file system of the longest mount point that `path` is below: the type,
/// and what is mounted (proc_pid_mountinfo(5)).
fn file_system(mountinfo: &str, path: &Path) -> Option<String> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        let mut source = source.split(' ');
        Some((point, source.next()?, source.next()?))
    });
    let above = mounts.filter(|(point, ..)| path.starts_with(point));
    // Of several at one point, the last is on top.
    let (_, fs_type, device) = above.max_by_key(|(point, ..)| point.len())?;
    Some(format!("{fs_type} on {device}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_on_the_nearest_mount() {
        let mounts = "21 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            30 21 0:26 / /tmp rw shared:5 - tmpfs tmpfs rw,size=1k\n\
            31 30 0:27 / /tmp/data rw - xfs /dev/vdb rw\n";
        let check = |path: &str, expected: &str| {
            assert_eq!(
                file_system(mounts, Path::new(path)).as_deref(),
                Some(expected),
                "{path}"
            );
        };
        check("/", "ext4 on /dev/vda");
        check("/tmpfile", "ext4 on /dev/vda");
        check("/tmp/x", "tmpfs on tmpfs");
        check("/tmp/data/x", "xfs on /dev/vdb");
    }

    #[test]
    fn the_processor_has_a_name() {
        let cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu\n";
        assert_eq!(processor(cpuinfo).as_deref(), Some("AMD EPYC"));
    }
}
