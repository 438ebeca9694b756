use std::cell::RefCell;
use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::serve::Place;
use bytes::Bytes;
use notification_event::{Cursor, Position};
use notification_hub::{Batch, Delivery, Feed, Step, Subscription, Take, Wording};
use uuid::Uuid;

use super::Socket;
use super::outgoing::{LAST_CHUNK, Outgoing, chunk};
use crate::confirmation::Confirmation;
use crate::peer::PeerWatch;
use crate::speech::{self, Said, Speech};
use crate::stream::Opened;

/// How many deliveries a connection that catches up gets before it is another's turn.
const TURN: usize = 8;

/// How much a peer may say after its request, in bytes: it waits for an answer
/// that has no end.
const MAX_SAID: usize = 16 << 10;

/// One open stream of a shard.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    socket: S,
    /// None while it [reads](State::Reading).
    subscription: Option<Subscription>,
    speech: Speech,
    outgoing: Outgoing,
    state: State,
    /// When something was last written.
    spoke: Instant,
    watch: PeerWatch,
    /// Something was written that its peer may not have confirmed.
    is_watched: bool,
    /// How much its peer has said.
    said: usize,
    confirming: Option<Box<Confirming>>,
    /// Which of the shard's feeds it is live on, and where in its list.
    pub(crate) feed: usize,
    pub(crate) place: usize,
    /// It is in the queue of those that catch up.
    pub(crate) is_queued: bool,
    /// The stream's: no other connection has, or had, the same.
    pub(crate) id: Uuid,
    /// Draining waits for it.
    _open: Option<Place>,
}

/// Where a connection is.
///
/// ```text
///              ┌────────────── has everything ──────────────┐
///              ▼                                            │
///   new ──► Behind ─── not in memory ──► Reading ─── read ──┤
///              │                                            │
///              ├─── above its rate ────► Waiting ─── due ───┤
///              │                                            │
///            Live ──── socket is full ─► Blocked ─ written ─┘
///              └────── its end ────────► Ending ─ written ─► gone
/// ```
///
/// Every arrow that comes back goes through [`Connection::advance`], which asks
/// the subscription what comes next until there is nothing. No event is handed
/// from one state to another: each begins where the subscription's position is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It has had everything, and its socket has taken it. What comes next on
    /// its feed goes straight out.
    Live,
    /// It catches up from memory, and it is another's turn.
    Behind,
    /// Its subscription is reading the log, on another thread.
    Reading,
    /// Its rate does not allow it more before then.
    Waiting(Instant),
    /// Its socket takes no more for now: `outgoing` is at most one delivery.
    Blocked,
    /// Nothing follows what is being written.
    Ending,
    /// It is over.
    Ended,
}

/// What is confirmed of the stream of a named client.
#[derive(Debug, Default)]
struct Confirming {
    confirmation: Confirmation,
    /// Up to where everything was given to the kernel.
    in_kernel: Option<Cursor>,
    /// The shard looks at it from time to time.
    is_noted: bool,
}

/// What is left to be done for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing: it will be heard of.
    Nothing,
    /// It gets another turn.
    Again,
    /// Its subscription is to be taken, to read the log.
    Read,
    /// It is looked at again then.
    Wake(Instant),
    /// It is over.
    End,
}

/// One look at a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Nothing after this is looked at.
    pub(crate) limit: Position,
    pub(crate) now: Instant,
}

/// A batch, ready to be written as it is.
pub(crate) struct Ready<'a> {
    batch: &'a Batch,
    slices: Vec<IoSlice<'a>>,
    size: usize,
    /// The same in the words of other protocols, each made once.
    worded: RefCell<Vec<(Arc<dyn Wording>, Bytes)>>,
}

impl<'a> Ready<'a> {
    pub(crate) fn new(batch: &'a Batch) -> Self {
        let chunks = batch.frames().iter().map(|frame| frame.chunk());
        let slices: Vec<_> = chunks.map(IoSlice::new).collect();
        Self {
            batch,
            size: slices.iter().map(|slice| slice.len()).sum(),
            slices,
            worded: RefCell::default(),
        }
    }

    /// All of it in other words, as one chunk; empty if nothing of it is said.
    fn worded(&self, wording: &Arc<dyn Wording>) -> Bytes {
        if !wording.is_shared() {
            return self.in_words_of(&**wording);
        }
        let mut worded = self.worded.borrow_mut();
        let known = worded.iter().find(|(it, _)| Arc::ptr_eq(it, wording));
        if let Some((_, chunk)) = known {
            return chunk.clone();
        }
        let chunk = self.in_words_of(&**wording);
        worded.push((wording.clone(), chunk.clone()));
        chunk
    }

    fn in_words_of(&self, wording: &dyn Wording) -> Bytes {
        speech::worded_chunk(wording, self.batch.frames())
    }
}

impl<S: Socket> Connection<S> {
    pub(crate) fn new(
        socket: S,
        stream: Opened,
        peer_timeout: Duration,
        now: Instant,
        open: Option<Place>,
    ) -> Self {
        let Opened {
            subscription,
            speech,
            opening,
        } = stream;
        let mut outgoing = Outgoing::default();
        outgoing.push(opening);
        Self {
            socket,
            id: subscription.id(),
            confirming: subscription.is_named().then(Box::default),
            subscription: Some(subscription),
            speech,
            outgoing,
            state: State::Behind,
            spoke: now,
            watch: PeerWatch::new(peer_timeout),
            is_watched: true,
            said: 0,
            feed: 0,
            place: 0,
            is_queued: false,
            _open: open,
        }
    }

    /// Its subscription, of one that is new.
    pub(crate) fn subscription(&self) -> &Subscription {
        self.subscription.as_ref().expect("a new one has it")
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> State {
        self.state
    }

    #[cfg(test)]
    pub(crate) fn has_written_all(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Gives it what is new on its feed, if it is live.
    pub(crate) fn give(&mut self, ready: &Ready<'_>, turn: Turn) -> After {
        // Who is not comes to it when it looks for itself.
        let (State::Live, Some(subscription)) = (self.state, &mut self.subscription) else {
            return After::Nothing;
        };
        let batch = ready.batch;
        match subscription.take(batch) {
            Take::All => {
                self.speech.told(batch.through());
                self.spoke = turn.now;
                self.is_watched = true;
                if let Some(wording) = self.speech.wording() {
                    let worded = ready.worded(wording);
                    return match worded.is_empty() {
                        true => After::Nothing,
                        false => self.write(worded, turn),
                    };
                }
                let written = match self.socket.write(&ready.slices) {
                    Ok(written) => written,
                    Err(error) if would_block(&error) => 0,
                    Err(error) => {
                        // None of it was given to the kernel.
                        self.outgoing.push_frames(batch.frames(), 0);
                        return self.broke(&error);
                    }
                };
                if written == ready.size {
                    self.is_in_kernel();
                    return After::Nothing;
                }
                self.outgoing.push_frames(batch.frames(), written);
            }
            Take::Some(frames) => {
                self.say(Delivery::Events(frames));
            }
            Take::Step => {}
        }
        self.advance(turn)
    }

    /// Writes a chunk, while nothing else is to be written.
    fn write(&mut self, chunk: Bytes, turn: Turn) -> After {
        let written = match self.socket.write(&[IoSlice::new(&chunk)]) {
            Ok(written) => written,
            Err(error) if would_block(&error) => 0,
            Err(error) => {
                // None of it was given to the kernel.
                self.outgoing.push(chunk);
                return self.broke(&error);
            }
        };
        if written == chunk.len() {
            self.is_in_kernel();
            return After::Nothing;
        }
        self.outgoing.push(chunk.slice(written..));
        self.advance(turn)
    }

    /// Looks what comes next for it, unless it waits for its socket or for the log.
    pub(crate) fn look(&mut self, turn: Turn) -> After {
        match self.state {
            State::Live | State::Behind | State::Waiting(_) | State::Ending => self.advance(turn),
            State::Reading | State::Blocked | State::Ended => After::Nothing,
        }
    }

    /// Whether nothing else is to happen to it before `due`.
    pub(crate) fn waits_until(&self, due: Instant) -> bool {
        self.state == State::Waiting(due)
    }

    /// Its socket may take more.
    pub(crate) fn writable(&mut self, turn: Turn) -> After {
        match self.state {
            State::Blocked | State::Ending => self.advance(turn),
            _ => After::Nothing,
        }
    }

    /// Its peer has said something, or is gone. Nothing that it says is awaited.
    pub(crate) fn readable(&mut self) -> After {
        let mut buffer = [0; 512];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return self.ended(),
                Ok(more) => self.said += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return After::Nothing,
                Err(error) => return self.broke(&error),
            }
            if self.said > MAX_SAID {
                tracing::info!("stream closed: its client goes on sending");
                return self.ended();
            }
        }
    }

    /// It has to read the log: here is what does that.
    pub(crate) fn lend(&mut self) -> Option<Subscription> {
        self.subscription.take()
    }

    /// The log was read, and this was found.
    pub(crate) fn give_back(
        &mut self,
        subscription: Subscription,
        delivery: Option<Delivery>,
        turn: Turn,
    ) -> After {
        self.subscription = Some(subscription);
        self.state = State::Behind;
        if let Some(delivery) = delivery {
            self.say(delivery);
        }
        self.advance(turn)
    }

    /// Whether nothing was said for so long, and something could be.
    pub(crate) fn is_silent(&self, heartbeat: Duration, now: Instant) -> bool {
        let is_open = matches!(self.state, State::Live | State::Waiting(_) | State::Reading);
        is_open && now.duration_since(self.spoke) >= self.speech.silence(heartbeat)
    }

    /// Says that it lives, if it is silent.
    pub(crate) fn beat(&mut self, feed: &Feed, heartbeat: Duration, now: Instant) -> After {
        if !self.is_silent(heartbeat, now) {
            return After::Nothing;
        }
        if let (State::Live, Some(subscription)) = (self.state, &mut self.subscription) {
            subscription.catch_up_with(feed);
        }
        let comment = self.speech.comment(self.subscription.as_ref());
        self.outgoing.push(chunk(&comment).into());
        match self.flush(now) {
            Ok(true) => After::Nothing,
            // What it reads or waits for comes when the socket has taken this.
            Ok(false) if self.state == State::Reading => After::Nothing,
            Ok(false) => {
                self.state = State::Blocked;
                After::Nothing
            }
            Err(error) => self.broke(&error),
        }
    }

    /// Whether its peer is gone without a word.
    pub(crate) fn is_gone(&mut self, now: Instant) -> bool {
        if !self.is_watched {
            return false;
        }
        let Some(confirmation) = self.socket.confirmation() else {
            return false;
        };
        if !confirmation.is_due {
            // Behind a window that is closed there may be more.
            let sent = self.socket.sent();
            self.is_watched = sent.is_some_and(|sent| sent.confirmed < sent.written);
        }
        self.watch.is_gone(now, confirmation)
    }

    /// Whether the shard is to look what its peer confirms, and does not yet.
    pub(crate) fn is_to_confirm(&mut self) -> bool {
        let (Some(confirming), Some(subscription)) = (&mut self.confirming, &self.subscription)
        else {
            return false;
        };
        let is_to = !confirming.is_noted && subscription.needs_confirmation();
        confirming.is_noted |= is_to;
        is_to
    }

    /// Looks what its peer has confirmed. Whether it is worth looking again soon:
    /// not while its socket is full, after which it is noted again.
    pub(crate) fn confirm(&mut self) -> bool {
        let is_full = self.state == State::Blocked;
        let Some(confirming) = &mut self.confirming else {
            return false;
        };
        // Reading the log, it is looked at afterwards.
        let Some(subscription) = &mut self.subscription else {
            return true;
        };
        if self.outgoing.is_empty() {
            confirming.in_kernel = Some(subscription.cursor());
        }
        let sent = self.socket.sent();
        if let Some(reached) = confirming.confirmation.look(confirming.in_kernel, sent) {
            subscription.confirm(reached);
        }
        let is_done = is_full || confirming.confirmation.reached() == Some(subscription.cursor());
        confirming.is_noted = !is_done;
        !is_done
    }

    /// Lets go of it. What has reached the peer at the end counts, too.
    pub(crate) fn close(mut self) -> S {
        self.confirm();
        self.socket
    }

    /// Goes on until it has everything, or something holds it up.
    fn advance(&mut self, turn: Turn) -> After {
        for _ in 0..TURN {
            match self.flush(turn.now) {
                Ok(true) if self.state == State::Ending => return self.ended(),
                Ok(true) => {}
                Ok(false) if self.state == State::Ending => return After::Nothing,
                Ok(false) => {
                    self.state = State::Blocked;
                    return After::Nothing;
                }
                Err(error) => return self.broke(&error),
            }
            let Some(subscription) = &mut self.subscription else {
                self.state = State::Reading;
                return After::Nothing;
            };
            match subscription.step(turn.limit) {
                Step::Deliver(delivery) => self.say(delivery),
                Step::Again => {}
                Step::Wait => {
                    self.state = State::Live;
                    return After::Nothing;
                }
                Step::WaitUntil(due) => {
                    let due = due.into_std();
                    self.state = State::Waiting(due);
                    return After::Wake(due);
                }
                Step::Read => {
                    self.state = State::Reading;
                    return After::Read;
                }
            }
        }
        if self.state != State::Ending {
            self.state = State::Behind;
        }
        After::Again
    }

    fn say(&mut self, delivery: Delivery) {
        let Some(subscription) = &self.subscription else {
            return;
        };
        match self.speech.say(delivery, subscription) {
            Said::Events(frames) => self.outgoing.push_frames(&frames, 0),
            // An empty chunk would be the last.
            Said::Text(text) if text.is_empty() => {}
            Said::Text(text) => self.outgoing.push(chunk(&text).into()),
            Said::End(text) => {
                self.outgoing.push(chunk(&text).into());
                self.outgoing.push(Bytes::from_static(LAST_CHUNK));
                self.state = State::Ending;
            }
        }
    }

    fn flush(&mut self, now: Instant) -> std::io::Result<bool> {
        if self.outgoing.is_empty() {
            return Ok(true);
        }
        self.spoke = now;
        self.is_watched = true;
        let is_all = self.outgoing.flush(&self.socket)?;
        if is_all {
            self.is_in_kernel();
        }
        Ok(is_all)
    }

    /// Everything was given to the kernel.
    fn is_in_kernel(&mut self) {
        if let (Some(confirming), Some(subscription)) = (&mut self.confirming, &self.subscription) {
            confirming.in_kernel = Some(subscription.cursor());
        }
    }

    fn broke(&mut self, error: &std::io::Error) -> After {
        tracing::debug!(%error, "stream broke");
        self.ended()
    }

    fn ended(&mut self) -> After {
        // Fails if the connection has ended already.
        let _ = self.socket.end();
        self.state = State::Ended;
        After::End
    }
}

fn would_block(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
