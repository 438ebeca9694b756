//! Sockets without a network, and streams on them.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;
use std::time::{Duration, Instant};

use notification_hub::{Hub, Subscription};
use notification_webhook::{Webhooks, WebhooksConfig};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::{Socket, chunk};
use crate::Capacity;
use crate::stream::Opened;
use crate::wire::Sent;
use crate::{Http, HttpConfig, Settings, StreamConfig, peer};

/// The head that every stream begins with here.
pub(super) const HEAD: &str = "HTTP/1.1 200 OK\r\n\r\n";

/// How long a peer may be silent: for ever.
const PEER_TIMEOUT: Duration = Duration::from_secs(1 << 20);

pub(super) const HEARTBEAT: Duration = Duration::from_secs(2);

/// A socket that takes as much as a test allows, and remembers it. Clones are
/// the same socket.
#[derive(Clone, Debug, Default)]
pub(super) struct Fake(Rc<RefCell<State>>);

#[derive(Debug, Default)]
pub(super) struct State {
    /// How many more bytes it takes; none is as many as there are.
    pub(super) room: Option<usize>,
    /// How many bytes it takes at once.
    pub(super) gulp: Option<usize>,
    pub(super) taken: Vec<u8>,
    /// How much of that its peer has confirmed.
    pub(super) confirmed: usize,
    /// Its peer confirms what it takes at once.
    pub(super) confirms: bool,
    /// How many bytes its peer has said that were not read.
    pub(super) said: usize,
    pub(super) is_hung_up: bool,
    pub(super) is_broken: bool,
    pub(super) is_ended: bool,
    /// When it last took something.
    took_at: Option<Instant>,
    /// It did not take all that it was last offered.
    is_left: bool,
    writes: usize,
}

impl Fake {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.borrow_mut())
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// All that it has taken, as text.
    pub(super) fn text(&self) -> String {
        self.with(|state| String::from_utf8(state.taken.clone()).unwrap())
    }

    /// How often it was written to.
    pub(super) fn writes(&self) -> usize {
        self.with(|state| state.writes)
    }
}

impl Socket for Fake {
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.with(|state| state.write(slices))
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|state| {
            let read = state.said.min(buffer.len());
            state.said -= read;
            match read {
                0 if state.is_broken => Err(ErrorKind::ConnectionReset.into()),
                0 if state.is_hung_up => Ok(0),
                0 => Err(ErrorKind::WouldBlock.into()),
                read => Ok(read),
            }
        })
    }

    fn end(&self) -> io::Result<()> {
        self.with(|state| state.is_ended = true);
        Ok(())
    }

    fn sent(&self) -> Option<Sent> {
        self.with(|state| {
            Some(Sent {
                confirmed: state.confirmed as u64,
                written: state.taken.len() as u64,
            })
        })
    }

    fn confirmation(&self) -> Option<peer::Confirmation> {
        self.with(|state| {
            Some(peer::Confirmation {
                is_due: state.confirmed < state.taken.len(),
                last: Duration::ZERO,
            })
        })
    }
}

impl State {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        assert!(!self.is_ended, "written to after its end");
        let size: usize = slices.iter().map(|slice| slice.len()).sum();
        assert!(size > 0, "nothing to write");
        self.writes += 1;
        if self.is_broken {
            return Err(ErrorKind::ConnectionReset.into());
        }
        self.check_silence(slices);
        let taken = size
            .min(self.room.unwrap_or(size))
            .min(self.gulp.unwrap_or(size));
        self.is_left = taken < size;
        if taken == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        if let Some(room) = &mut self.room {
            *room -= taken;
        }
        self.took_at = Some(now());
        let bytes = slices.iter().flat_map(|slice| slice.iter());
        self.taken.extend(bytes.take(taken));
        if self.confirms {
            self.confirmed = self.taken.len();
        }
        Ok(taken)
    }

    /// A comment comes only after a silence.
    fn check_silence(&self, slices: &[IoSlice<'_>]) {
        let is_comment = slices[0].split(|byte| *byte == b'\n').nth(1) == Some(b":");
        if let (true, false, Some(took_at)) = (is_comment, self.is_left, self.took_at) {
            assert!(now() - took_at >= HEARTBEAT, "a comment without a silence");
        }
    }
}

/// The time, which stands still until a test lets it pass.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Runs a test in a time of its own.
pub(super) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(test)
}

/// The doors to `hub`, behind which streams are opened.
pub(super) fn http(hub: &Hub) -> Http {
    let retry = (Duration::from_secs(1), Duration::from_secs(1));
    let config = HttpConfig {
        capacity: Capacity::of_files(None),
        tls: None,
        webhooks: Webhooks::new(hub.clone(), WebhooksConfig::default()),
        base_url: "http://localhost".to_owned(),
        authorization_servers: Vec::new(),
        body_timeout: Duration::from_secs(30),
        stream: StreamConfig {
            enabled: true,
            heartbeat: HEARTBEAT,
            retry,
        },
    };
    Http::new(
        hub.clone(),
        config,
        Settings::default(),
        CancellationToken::new(),
    )
}

pub(super) fn config() -> super::ShardConfig {
    super::ShardConfig {
        heartbeat: HEARTBEAT,
        soonest: HEARTBEAT,
        peer_timeout: PEER_TIMEOUT,
    }
}

/// A connection of which nothing has been written yet.
pub(super) fn connection(
    socket: &Fake,
    subscription: Subscription,
    http: &Http,
) -> Connection<Fake> {
    let mut stream = Opened::new(subscription, None, http);
    let opening = [HEAD.as_bytes(), &chunk(&stream.opening)].concat();
    stream.opening = opening.into();
    Connection::new(socket.clone(), stream, PEER_TIMEOUT, now(), None)
}
