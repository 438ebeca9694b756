use std::time::{Duration, Instant};

use tokio::net::TcpStream;

/// Watches for a peer that has vanished without a word: one that does not
/// confirm what it was sent.
///
/// A peer that merely does not read confirms that, again and again: its window
/// is closed, and the kernel asks whether it still is. `TCP_USER_TIMEOUT`
/// cannot tell the two apart (tcp(7): "or buffered data may remain
/// untransmitted, due to zero window size") and would cut slow readers off.
#[derive(Debug)]
pub(crate) struct PeerWatch {
    timeout: Duration,
    /// Since when something has been waiting to be confirmed, and nothing was.
    unconfirmed_since: Option<Instant>,
}

/// What the kernel knows of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Confirmation {
    /// Whether the peer owes one.
    pub(crate) is_due: bool,
    /// How long ago the last one came.
    pub(crate) last: Duration,
}

impl PeerWatch {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            unconfirmed_since: None,
        }
    }

    /// How often to look.
    pub(crate) fn interval(&self) -> Duration {
        (self.timeout / 4).max(Duration::from_millis(100))
    }

    /// Takes note of what the kernel knows. True if the peer is gone.
    pub(crate) fn is_gone(&mut self, now: Instant, confirmation: Confirmation) -> bool {
        let Confirmation { is_due, last } = confirmation;
        if !is_due {
            self.unconfirmed_since = None;
            return false;
        }
        let since = self.unconfirmed_since.get_or_insert(now);
        let waited = now.duration_since(*since);
        if last < waited {
            // One came in between; what is due now is something newer.
            *since = now;
            return false;
        }
        waited >= self.timeout
    }
}

/// How many times a peer that does not read has to fail to say so. One probe
/// may be lost, and the next comes late: up to two minutes later.
#[cfg(target_os = "linux")]
const MISSED_PROBES: u8 = 3;

/// A socket, to ask the kernel about while somebody else owns it. Asked after
/// the socket was closed, it gives an answer that means nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socket {
    #[cfg(target_os = "linux")]
    descriptor: std::os::fd::RawFd,
}

#[cfg(target_os = "linux")]
impl Socket {
    pub(crate) fn of(stream: &TcpStream) -> Self {
        Self {
            descriptor: std::os::fd::AsRawFd::as_raw_fd(stream),
        }
    }

    #[expect(unsafe_code, reason = "no safe crate offers TCP_INFO")]
    pub(crate) fn confirmation(self) -> Option<Confirmation> {
        // SAFETY: all fields are integers, for which zero is a value.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut size = size_of_val(&info) as libc::socklen_t;
        // SAFETY: the pointers are to values that live, and the size is that of
        // the value, of which the kernel writes no more.
        let result = unsafe {
            libc::getsockopt(
                self.descriptor,
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                (&raw mut info).cast(),
                &raw mut size,
            )
        };
        (result == 0).then(|| Confirmation {
            is_due: info.tcpi_unacked > 0 || info.tcpi_probes >= MISSED_PROBES,
            last: Duration::from_millis(info.tcpi_last_ack_recv.into()),
        })
    }
}

/// Elsewhere the operating system's own patience decides.
#[cfg(not(target_os = "linux"))]
impl Socket {
    pub(crate) fn of(_: &TcpStream) -> Self {
        Self {}
    }

    pub(crate) fn confirmation(self) -> Option<Confirmation> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_gone_when_it_owes_a_confirmation_for_too_long() {
        let mut watch = PeerWatch::new(Duration::from_secs(10));
        let start = Instant::now();
        let mut look = |second: u64, is_due: bool, last: u64| {
            let last = Duration::from_secs(last);
            watch.is_gone(
                start + Duration::from_secs(second),
                Confirmation { is_due, last },
            )
        };
        // Idle for long, and nothing owed.
        assert!(!look(0, false, 60));
        // Something was just sent; that the last word is old means nothing.
        assert!(!look(60, true, 120));
        assert!(!look(69, true, 129));
        assert!(look(70, true, 130));
        // A peer that does not read, and says so.
        assert!(!look(71, true, 1));
        assert!(!look(76, true, 6));
        assert!(!look(82, true, 1));
        assert!(!look(91, true, 10));
        assert!(look(93, true, 12));
        // Nothing is owed any more.
        assert!(!look(94, false, 0));
        assert!(!look(95, true, 1));
    }
}
