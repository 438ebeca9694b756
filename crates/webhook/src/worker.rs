use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use notification_access::Refused;
use notification_event::{Breaking, Filter, Position, Selector};
use notification_hub::{
    Declared, Delivery, End, Frame, Start, Subscribe, SubscribeError, Subscription, Transport,
};
use tokio::sync::mpsc;

use crate::sender::{self, Item, Sent, now};
use crate::shared::Shared;
use crate::webhook::{Command, Wanted, Webhook};
use crate::{Condition, DeadLetter, Ending};

/// How many events of one webhook are under way at once: being sent, or waiting to
/// be sent again.
const WINDOW: usize = 32;

/// How many events are seen to beyond the oldest that is not, at most.
const MAX_SETTLED: usize = 1_024;

/// How often a webhook that has nothing to do says where it is.
const QUIET: Duration = Duration::from_secs(30);

/// How long attempts may take to end when the server stops.
const LAST: Duration = Duration::from_secs(1);

/// How long it is waited when the log cannot be read.
const RETRY: Duration = Duration::from_secs(1);

/// What a worker does next.
enum Next {
    /// Begins again where it is.
    Again,
    /// Nothing more.
    Stop,
    /// Nothing more, ever.
    End(Option<Ending>),
}

/// Sends a webhook what it wants, until it is over or the server stops.
pub(crate) async fn run(
    shared: Arc<Shared>,
    webhook: Arc<Webhook>,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    loop {
        let work = async {
            match webhook.condition() {
                Condition::Active => serve(&shared, &webhook, &mut commands).await,
                Condition::Paused | Condition::Suspended => idle(&mut commands).await,
            }
        };
        let next = tokio::select! {
            biased;
            () = expiry(&webhook) => Next::End(None),
            next = work => next,
            () = shared.stop.cancelled(), if webhook.condition() != Condition::Active => Next::Stop,
        };
        match next {
            Next::Again => {}
            Next::Stop => return,
            Next::End(ending) => return shared.end(&webhook, ending).await,
        }
    }
}

/// Waits until its time is over, which may be changed meanwhile.
async fn expiry(webhook: &Webhook) {
    loop {
        let expires_at = webhook.state().of.expires_at;
        let left = expires_at.map(|time| time.as_millis() - now().as_millis());
        let renewed = webhook.renewed.notified();
        match left {
            Some(..=0) => return,
            Some(left) => {
                let left = Duration::from_millis(u64::try_from(left).unwrap_or_default());
                // A clock that is set anew is noticed, too.
                let _ = tokio::time::timeout(left.min(QUIET), renewed).await;
            }
            None => renewed.await,
        }
    }
}

/// Waits until it is to do something again.
async fn idle(commands: &mut mpsc::UnboundedReceiver<Command>) -> Next {
    loop {
        match commands.recv().await {
            None | Some(Command::Stop) => return Next::Stop,
            Some(Command::Again) => return Next::Again,
            Some(Command::End(ending)) => return Next::End(ending),
            // Only what is active sends anything, and moves.
            Some(Command::Redeliver(_) | Command::Place(_)) => {}
        }
    }
}

/// The event type that a webhook is sent occurrences of, and what chooses among them.
type Chosen = Option<(Arc<Declared>, Selector)>;

/// What is under way.
struct Work {
    shared: Arc<Shared>,
    webhook: Arc<Webhook>,
    declared: Chosen,
    subscription: Subscription,
    /// Read, and not begun yet.
    waiting: VecDeque<Item>,
    under_way: FuturesUnordered<BoxFuture<'static, (Item, Sent)>>,
    /// What of the log is waiting or under way.
    outstanding: BTreeSet<Position>,
    /// Gaps that the receiver has not been told of: its place stays before them, so that
    /// they are found again after a crash.
    untold_gaps: usize,
}

async fn serve(
    shared: &Arc<Shared>,
    webhook: &Arc<Webhook>,
    commands: &mut mpsc::UnboundedReceiver<Command>,
) -> Next {
    let mut work = match Work::begin(shared, webhook).await {
        Ok(work) => work,
        Err(next) => return next,
    };
    // Not all of them at once.
    let first = QUIET.mul_f64(fastrand::f64());
    let mut quiet = tokio::time::interval_at(tokio::time::Instant::now() + first, QUIET);
    loop {
        work.send();
        let has_room = work.has_room();
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => {
                work.finish().await;
                return Next::Stop;
            }
            () = webhook.attention.notified() => match webhook.condition() {
                Condition::Active => {}
                Condition::Paused | Condition::Suspended => return Next::Again,
            },
            command = commands.recv() => match command {
                None | Some(Command::Stop) => return Next::Stop,
                Some(Command::Again) => return Next::Again,
                Some(Command::End(ending)) => return Next::End(ending),
                Some(Command::Redeliver(frames)) => work.redeliver(frames),
                Some(Command::Place(done)) => {
                    // Passes over what it does not want, if it is that far.
                    let read = has_room.then(|| work.subscription.next().now_or_never());
                    if let Some(delivery) = read.flatten() && let Some(next) = work.take(delivery).await {
                        return next;
                    }
                    work.advance();
                    let _ = done.send(());
                }
            },
            Some((item, sent)) = work.under_way.next(), if !work.under_way.is_empty() => {
                work.settle(&item, sent);
            }
            _ = quiet.tick() => work.advance(),
            delivery = work.subscription.next(), if has_room => {
                if let Some(next) = work.take(delivery).await {
                    return next;
                }
            }
        }
    }
}

impl Work {
    async fn begin(shared: &Arc<Shared>, webhook: &Arc<Webhook>) -> Result<Self, Next> {
        let (wanted, watermark) = {
            let state = webhook.state();
            (state.of.wanted.clone(), state.watermark)
        };
        let ended = |ending| Next::End(Some(ending));
        let declared = sender::declared(shared, &wanted).map_err(ended)?;
        let (filter, declared) = read(wanted, declared).map_err(ended)?;
        let caller = shared.hub.caller(webhook.owner.clone(), None);
        let subscribe = Subscribe {
            filter,
            start: Start::After(watermark),
            transport: Transport {
                name: "webhook",
                peer: None,
            },
            is_unattended: true,
            ..Subscribe::default()
        };
        match caller.subscribe(subscribe).await {
            Ok(subscription) => Ok(Self {
                shared: shared.clone(),
                webhook: webhook.clone(),
                declared,
                subscription,
                waiting: VecDeque::new(),
                under_way: FuturesUnordered::new(),
                outstanding: BTreeSet::new(),
                untold_gaps: 0,
            }),
            Err(SubscribeError::Refused(Refused::Lapsed(lapsed))) => Err(ended(lapsed.into())),
            Err(SubscribeError::Refused(refused)) => {
                Err(ended(Ending::Unauthorized(refused.to_string())))
            }
            Err(error) => {
                tracing::warn!(webhook = %webhook.id, %error, "webhook cannot read the log");
                let waited = shared.stop.run_until_cancelled(tokio::time::sleep(RETRY));
                Err(match waited.await {
                    Some(()) => Next::Again,
                    None => Next::Stop,
                })
            }
        }
    }

    /// Begins to send as much as is sent at once.
    fn send(&mut self) {
        while self.under_way.len() < WINDOW
            && let Some(item) = self.waiting.pop_front()
        {
            let declared = self.declared.as_ref().map(|(declared, _)| declared.clone());
            let delivery =
                sender::deliver(self.shared.clone(), self.webhook.clone(), declared, item);
            self.under_way.push(delivery.boxed());
        }
    }

    /// Whether more is read: not before what was read is under way.
    fn has_room(&self) -> bool {
        self.waiting.is_empty()
            && self.under_way.len() < WINDOW
            && self.webhook.state().settled.len() < MAX_SETTLED
    }

    /// Takes what was read.
    async fn take(&mut self, delivery: Delivery) -> Option<Next> {
        match delivery {
            Delivery::Events(frames) => self.queue(frames),
            Delivery::Gap { cursor, .. } => {
                self.shared.metrics.gaps.inc();
                tracing::warn!(webhook = %self.webhook.id, %cursor, "events may be missing");
                self.untold_gaps += 1;
                self.waiting.push_back(Item::Gap(cursor));
            }
            Delivery::Closing => {
                self.finish().await;
                return Some(Next::Stop);
            }
            Delivery::Ended(End::Unauthorized(lapsed)) => {
                return Some(Next::End(Some(lapsed.into())));
            }
            Delivery::Ended(End::Administrator | End::Over(_)) => return Some(Next::Again),
            Delivery::Failed(error) => {
                tracing::warn!(webhook = %self.webhook.id, %error, "webhook cannot read the log");
                let waited = self
                    .shared
                    .stop
                    .run_until_cancelled(tokio::time::sleep(RETRY));
                return Some(match waited.await {
                    Some(()) => Next::Again,
                    None => Next::Stop,
                });
            }
            // Of streams that ask for it.
            Delivery::Snapshot(_)
            | Delivery::SnapshotComplete(_)
            | Delivery::Conflated(_)
            | Delivery::Paused(_)
            | Delivery::Asides(_)
            | Delivery::CredentialExpiring(_) => {}
        }
        self.advance();
        None
    }

    fn queue(&mut self, frames: Vec<Arc<Frame>>) {
        let webhook = self.webhook.clone();
        let state = webhook.state();
        for frame in frames {
            let is_chosen = match &self.declared {
                None => true,
                Some((declared, selector)) => {
                    let said = declared.occurrence(&frame);
                    said.is_some_and(|said| selector.selects(&said.data))
                }
            };
            if is_chosen && !state.settled.contains(&frame.position) {
                self.outstanding.insert(frame.position);
                self.waiting.push_back(Item::Event(frame));
            }
        }
    }

    fn redeliver(&mut self, frames: Vec<Arc<Frame>>) {
        self.waiting.extend(frames.into_iter().map(Item::Again));
    }

    /// Takes note of what became of something.
    fn settle(&mut self, item: &Item, sent: Sent) {
        let (shared, webhook) = (&self.shared, &self.webhook);
        let mut state = webhook.state();
        match (sent, item.event()) {
            (Sent::Stopped, _) => return,
            (Sent::Taken, Some(event)) => {
                if state.letters.iter().any(|letter| letter.event == *event) {
                    state.take_letter(event);
                }
            }
            (Sent::GivenUp { attempts, outcome }, Some(event)) => {
                shared.metrics.given_up.inc();
                let (id, outcome_word) = (&webhook.id, outcome.as_str());
                tracing::warn!(webhook = %id, %event, attempts, outcome = outcome_word, "event given up");
                let letter = DeadLetter {
                    event: event.clone(),
                    at: now(),
                    attempts,
                    outcome,
                };
                if let Some(dropped) = state.give_up(letter) {
                    shared.metrics.dead_letters_dropped.inc();
                    tracing::warn!(webhook = %id, event = %dropped.event, "dead letter dropped");
                }
            }
            (Sent::GivenUp { outcome, .. }, None) => {
                let outcome = outcome.as_str();
                tracing::warn!(webhook = %webhook.id, outcome, "a control message was given up");
            }
            (Sent::Taken, None) => {}
        }
        if let Some(position) = item.position() {
            self.outstanding.remove(&position);
            state.settled.insert(position);
        }
        if let Item::Gap(_) = item {
            self.untold_gaps -= 1;
        }
        if self.untold_gaps == 0 {
            let oldest = self.outstanding.first().copied();
            state.advance(oldest, self.subscription.cursor());
        }
    }

    /// Its place is where everything was seen to.
    fn advance(&mut self) {
        if self.untold_gaps > 0 {
            return;
        }
        let oldest = self.outstanding.first().copied();
        let through = self.subscription.cursor();
        self.webhook.state().advance(oldest, through);
    }

    /// Waits for what is just being sent.
    async fn finish(&mut self) {
        let last = tokio::time::sleep(LAST);
        tokio::pin!(last);
        loop {
            tokio::select! {
                biased;
                sent = self.under_way.next() => match sent {
                    Some((item, sent)) => self.settle(&item, sent),
                    None => return,
                },
                () = &mut last => return,
            }
        }
    }
}

/// What is read for a webhook, and what of it is chosen.
fn read(wanted: Wanted, declared: Option<Arc<Declared>>) -> Result<(Filter, Chosen), Ending> {
    match (wanted, declared) {
        (Wanted::Filter(filter), _) => Ok((filter, None)),
        (Wanted::EventType { name, .. }, None) => Err(Ending::Removed(name)),
        (Wanted::EventType { arguments, .. }, Some(declared)) => {
            // What was taken once is taken by what only adds to the type.
            let name = &declared.declaration.name;
            let changed = |_| Ending::Changed(name.clone(), Breaking::Arguments);
            let selector = declared.declaration.selector(arguments).map_err(changed)?;
            Ok((declared.filter(), Some((declared, selector))))
        }
    }
}
