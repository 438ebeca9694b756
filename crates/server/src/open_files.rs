use std::io;

/// Raises this process's limit of open files as far as it may: each connection
/// is one. The limit from now on; none if there is none.
#[cfg(unix)]
pub(crate) fn raise_limit() -> io::Result<Option<u64>> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return Ok(current);
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(getrlimit(Resource::Nofile).current)
}

/// Elsewhere sockets are not files.
#[cfg(not(unix))]
pub(crate) fn raise_limit() -> io::Result<Option<u64>> {
    Ok(None)
}
