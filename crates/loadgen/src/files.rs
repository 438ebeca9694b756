/// File descriptors that are needed beside those of the streams.
#[cfg(unix)]
const OTHER_FILES: u64 = 200;

/// This process may not have as many files open as it needs.
#[derive(Debug, thiserror::Error)]
pub enum FileLimit {
    /// Only who may raise the hard limit can change that.
    #[error(
        "{streams} streams need {needed} open files, and the hard limit is {limit}; raise it with `ulimit -Hn`"
    )]
    Hard {
        /// How many streams were to be opened.
        streams: usize,
        /// How many open files that takes.
        needed: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// The system did not raise the soft limit.
    #[error("cannot raise the limit of open files")]
    Refused(#[source] std::io::Error),
}

/// Raises this process's soft limit of open files, which the processes that it
/// starts inherit, so that each can hold `streams` connections.
#[cfg(unix)]
pub fn raise_file_limit(streams: usize) -> Result<(), FileLimit> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = streams as u64 + OTHER_FILES;
    if let Some(limit) = maximum
        && limit < needed
    {
        return Err(FileLimit::Hard {
            streams,
            needed,
            limit,
        });
    }
    if current.is_some_and(|current| current < needed) {
        let raised = Rlimit {
            current: Some(needed),
            maximum,
        };
        setrlimit(Resource::Nofile, raised).map_err(|error| FileLimit::Refused(error.into()))?;
    }
    Ok(())
}

/// There is nothing to raise on this system.
#[cfg(not(unix))]
pub fn raise_file_limit(_streams: usize) -> Result<(), FileLimit> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_the_hard_limit_forbids_is_refused() {
        raise_file_limit(1).unwrap();
        let refusal = raise_file_limit(usize::MAX / 2);
        match rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum {
            Some(_) => assert!(matches!(refusal, Err(FileLimit::Hard { .. }))),
            None => refusal.unwrap(),
        }
    }
}
