use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::serve::Place;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use notification_hub::Bell;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::ShardConfig;
use super::connection::Connection;
use super::shard::{Read, Shard};
use crate::stream::Opened;
use crate::wire::Wire;

/// How many sockets one wait hears of.
const EVENTS: usize = 1_024;

/// Says that somebody else has something for the thread.
const WAKER: Token = Token(usize::MAX);

type Socket = Arc<Wire<TcpStream>>;

/// The thread that serves a shard.
#[derive(Debug)]
pub(crate) struct Thread {
    inbox: Arc<Inbox>,
}

/// What others have for a thread.
#[derive(Debug)]
struct Inbox {
    /// None when the thread has ended, so that nothing stays in it for ever.
    mail: Mutex<Option<Vec<Mail>>>,
    killed: AtomicBool,
    stopped: AtomicBool,
    waker: Waker,
}

#[derive(Debug)]
enum Mail {
    New(Socket, Opened, Place),
    Read(Read),
    /// Nothing will come of what was to be read.
    Lost(usize, Uuid),
}

impl Thread {
    pub(crate) fn start(
        index: usize,
        config: ShardConfig,
        runtime: Handle,
    ) -> std::io::Result<Self> {
        let poll = Poll::new()?;
        let inbox = Arc::new(Inbox {
            mail: Mutex::new(Some(Vec::new())),
            killed: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            waker: Waker::new(poll.registry(), WAKER)?,
        });
        let rung = inbox.clone();
        let bell = Bell::new(move || rung.wake());
        let server = Server {
            shard: Shard::new(config, bell.clone(), Instant::now()),
            config,
            bell,
            poll,
            inbox: inbox.clone(),
            runtime,
        };
        std::thread::Builder::new()
            .name(format!("streams-{index}"))
            .spawn(|| server.run_on())?;
        Ok(Self { inbox })
    }

    pub(crate) fn take(&self, wire: Socket, stream: Opened, open: Place) {
        self.inbox.put(Mail::New(wire, stream, open));
    }

    pub(crate) fn kill(&self) {
        self.inbox.killed.store(true, Ordering::Release);
        self.inbox.wake();
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.inbox.stopped.store(true, Ordering::Release);
        self.inbox.wake();
    }
}

impl Inbox {
    fn put(&self, mail: Mail) {
        let mut all = self.mail.lock().expect("no holder panics");
        let Some(waiting) = all.as_mut() else {
            // What it was for is closed with it.
            return;
        };
        let is_first = waiting.is_empty();
        waiting.push(mail);
        drop(all);
        if is_first {
            self.wake();
        }
    }

    fn take(&self) -> Vec<Mail> {
        let mut all = self.mail.lock().expect("no holder panics");
        all.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn end(&self) {
        let left = self.mail.lock().expect("no holder panics").take();
        drop(left);
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            // It looks again at its next sweep.
            tracing::error!(%error, "cannot wake a thread of streams");
        }
    }
}

/// What the thread has.
struct Server {
    shard: Shard<Socket>,
    config: ShardConfig,
    bell: Arc<Bell>,
    poll: Poll,
    inbox: Arc<Inbox>,
    runtime: Handle,
}

impl Server {
    /// Runs to the end, even if there is a bug: who was served when that showed
    /// is cut off, comes back and goes on where it was; who is new is served.
    fn run_on(mut self) {
        while catch_unwind(AssertUnwindSafe(|| self.run())).is_err() {
            tracing::error!("a thread of streams has panicked; its streams are cut off");
            self.shard = Shard::new(self.config, self.bell.clone(), Instant::now());
        }
        self.shard.clear();
        self.inbox.end();
    }

    fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS);
        while !self.inbox.stopped.load(Ordering::Acquire) {
            let now = Instant::now();
            let timeout = self.shard.wakes_at(now).saturating_duration_since(now);
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                polled => polled.expect("epoll works on what it was made for"),
            }
            let now = Instant::now();
            // What is new first: everybody waits for it.
            self.shard.rung(&self.bell.heard(), now);
            for event in events.iter().filter(|event| event.token() != WAKER) {
                let readable = event.is_readable() || event.is_read_closed() || event.is_error();
                let writable = event.is_writable() || event.is_write_closed();
                self.shard.ready(event.token().0, readable, writable, now);
            }
            // Before others get the numbers of those who are gone.
            self.bury();
            for mail in self.inbox.take() {
                match mail {
                    Mail::New(wire, stream, open) => self.add(wire, stream, open, now),
                    Mail::Read(read) => self.shard.read(read, now),
                    Mail::Lost(token, id) => self.shard.lost(token, id),
                }
            }
            self.shard.tick(now);
            if self.inbox.killed.load(Ordering::Acquire) {
                self.shard.clear();
            }
            self.bury();
            for reading in self.shard.take_reads() {
                let inbox = self.inbox.clone();
                let (token, id) = reading.of();
                let read = self.runtime.spawn(reading.read());
                self.runtime.spawn(async move {
                    inbox.put(match read.await {
                        Ok(read) => Mail::Read(read),
                        Err(_) => Mail::Lost(token, id),
                    });
                });
            }
        }
    }

    fn add(&mut self, wire: Socket, stream: Opened, open: Place, now: Instant) {
        let token = Token(self.shard.next_token());
        let interest = Interest::READABLE | Interest::WRITABLE;
        let fd = wire.stream().as_raw_fd();
        let registered = self
            .registry()
            .register(&mut SourceFd(&fd), token, interest);
        if let Err(error) = registered {
            tracing::error!(%error, "stream closed: its socket cannot be waited for");
            return wire.abort();
        }
        let timeout = self.config.peer_timeout;
        let connection = Connection::new(wire, stream, timeout, now, Some(open));
        self.shard.add(connection, now);
    }

    /// Closes what is over, even if others still hold it.
    fn bury(&mut self) {
        for wire in self.shard.take_gone() {
            let fd = wire.stream().as_raw_fd();
            if let Err(error) = self.registry().deregister(&mut SourceFd(&fd)) {
                tracing::debug!(%error, "socket cannot be let go");
            }
            wire.abort();
        }
    }

    fn registry(&self) -> &Registry {
        self.poll.registry()
    }
}
