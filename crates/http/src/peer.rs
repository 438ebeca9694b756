#[cfg(not(target_os = "linux"))]
use std::marker::PhantomData;
#[cfg(target_os = "linux")]
use std::mem::offset_of;
#[cfg(target_os = "linux")]
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Has a handle of the operating system's: what a socket is asked by.
#[cfg(unix)]
pub(crate) use std::os::fd::AsFd as AsHandle;
#[cfg(windows)]
pub(crate) use std::os::windows::io::AsSocket as AsHandle;

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

/// A socket that stays open, to ask the kernel about.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socket<'a>(BorrowedFd<'a>);

#[cfg(target_os = "linux")]
impl<'a> Socket<'a> {
    pub(crate) fn of(stream: &'a impl AsHandle) -> Self {
        Self(stream.as_fd())
    }

    pub(crate) fn confirmation(self) -> Option<Confirmation> {
        let (info, _) = self.info()?;
        Some(Confirmation {
            is_due: info.tcpi_unacked > 0 || info.tcpi_probes >= MISSED_PROBES,
            last: Duration::from_millis(info.tcpi_last_ack_recv.into()),
        })
    }

    /// How many bytes the peer has confirmed. The count need not begin at
    /// zero: a SYN may be in it, and the FIN will be. None before Linux 4.1.
    pub(crate) fn confirmed(self) -> Option<u64> {
        let (info, size) = self.info()?;
        let end = offset_of!(libc::tcp_info, tcpi_bytes_acked) + size_of::<u64>();
        (size >= end).then_some(info.tcpi_bytes_acked)
    }

    /// How many bytes the kernel holds that the peer has not confirmed, sent
    /// or not. The FIN is one of them.
    #[expect(unsafe_code, reason = "no safe crate offers SIOCOUTQ")]
    pub(crate) fn pending(self) -> Option<u64> {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the pointer is to an integer that lives, and an integer is
        // what the kernel writes (tcp(7), where TIOCOUTQ is called SIOCOUTQ).
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
        if result == 0 {
            bytes.try_into().ok()
        } else {
            None
        }
    }

    /// What the kernel knows, and how many bytes of it it knows.
    #[expect(unsafe_code, reason = "no safe crate offers TCP_INFO")]
    fn info(self) -> Option<(libc::tcp_info, usize)> {
        // SAFETY: all fields are integers, for which zero is a value.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut size = size_of_val(&info) as libc::socklen_t;
        // SAFETY: the pointers are to values that live, and the size is that of
        // the value, of which the kernel writes no more.
        let result = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                (&raw mut info).cast(),
                &raw mut size,
            )
        };
        (result == 0).then_some((info, size as usize))
    }
}

/// Elsewhere nothing can be asked: the operating system's own patience decides
/// who is gone, and what was confirmed is unknown.
#[cfg(not(target_os = "linux"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socket<'a>(PhantomData<&'a ()>);

#[cfg(not(target_os = "linux"))]
impl<'a> Socket<'a> {
    pub(crate) fn of(_: &'a impl AsHandle) -> Self {
        Self(PhantomData)
    }

    pub(crate) fn confirmation(self) -> Option<Confirmation> {
        None
    }

    pub(crate) fn confirmed(self) -> Option<u64> {
        None
    }

    pub(crate) fn pending(self) -> Option<u64> {
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
