use std::sync::Arc;
use std::time::{Instant, SystemTime};

use notification_event::{Cursor, EncodedEvent, Timestamp};
use notification_log::{Entry, EventLog, LogError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::fan_out::FanOut;
use crate::health::Health;
use crate::{Frame, Metrics, Published};

/// How many publishers wait in the queue before others wait for a place in it:
/// enough to fill a commit while the one before it is being synced. Nobody is
/// refused; each waits on its own connection, which bounds the memory.
const QUEUE: usize = 1_024;

/// How much goes into one commit, at most, so that the first to wait does not
/// wait for all that come after.
const MAX_COMMIT_EVENTS: usize = 4_096;
const MAX_COMMIT_BYTES: usize = 4 << 20;

/// Why events were not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The log did not take them.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The server is stopping.
    #[error("the server is shutting down")]
    Closing,
    /// The task that appends has panicked, which is a bug.
    #[error("the publisher has failed; the server has to be restarted")]
    Failed,
}

/// One publisher's events, which are committed together or not at all.
struct Request {
    events: Vec<EncodedEvent>,
    queued_at: Instant,
    answer: oneshot::Sender<Result<Vec<Published>, PublishError>>,
}

/// The handle to the one task that appends to the log.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    queue: mpsc::Sender<Request>,
    closing: CancellationToken,
}

impl Publisher {
    /// A publisher and the task that serves it until `closing`, and then until
    /// its queue is empty.
    pub(crate) fn new(
        log: Arc<dyn EventLog>,
        fan_out: Arc<FanOut>,
        health: Arc<Health>,
        metrics: Metrics,
        closing: CancellationToken,
    ) -> (Self, impl Future<Output = ()>) {
        let (queue, requests) = mpsc::channel(QUEUE);
        let worker = Worker {
            requests,
            log,
            fan_out,
            health,
            metrics,
        };
        let publisher = Self {
            queue,
            closing: closing.clone(),
        };
        (publisher, worker.run(closing))
    }

    /// Whether events are taken, or why not.
    pub(crate) fn ready(&self) -> Result<(), PublishError> {
        match (self.closing.is_cancelled(), self.queue.is_closed()) {
            (true, _) => Err(PublishError::Closing),
            (false, true) => Err(PublishError::Failed),
            (false, false) => Ok(()),
        }
    }

    pub(crate) async fn publish(
        &self,
        events: Vec<EncodedEvent>,
    ) -> Result<Vec<Published>, PublishError> {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            events,
            queued_at: Instant::now(),
            answer,
        };
        let gone = || self.ready().err().unwrap_or(PublishError::Failed);
        self.queue.send(request).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

struct Worker {
    requests: mpsc::Receiver<Request>,
    log: Arc<dyn EventLog>,
    fan_out: Arc<FanOut>,
    health: Arc<Health>,
    metrics: Metrics,
}

impl Worker {
    async fn run(mut self, closing: CancellationToken) {
        loop {
            let first = tokio::select! {
                request = self.requests.recv() => request,
                () = closing.cancelled(), if !self.requests.is_closed() => {
                    self.requests.close();
                    continue;
                }
            };
            let Some(first) = first else { return };
            let batch = self.with_all_that_wait(first);
            self.commit(batch).await;
        }
    }

    fn with_all_that_wait(&mut self, first: Request) -> Vec<Request> {
        let size =
            |request: &Request| -> usize { request.events.iter().map(EncodedEvent::size).sum() };
        let (mut events, mut bytes) = (first.events.len(), size(&first));
        let mut batch = vec![first];
        while events < MAX_COMMIT_EVENTS && bytes < MAX_COMMIT_BYTES {
            let Ok(request) = self.requests.try_recv() else {
                break;
            };
            events += request.events.len();
            bytes += size(&request);
            batch.push(request);
        }
        batch
    }

    async fn commit(&self, batch: Vec<Request>) {
        let mut requests = Vec::with_capacity(batch.len());
        let mut events = Vec::new();
        for request in batch {
            requests.push((request.events.len(), request.queued_at, request.answer));
            events.extend(request.events);
        }
        let events: Arc<[EncodedEvent]> = events.into();

        let started = Instant::now();
        let now = Timestamp::from(SystemTime::now());
        let bytes = events.iter().map(EncodedEvent::size).sum();
        self.health.writing(started, bytes);
        let appended = self.log.append(events.clone(), now).await;
        self.metrics
            .commit_seconds
            .observe(started.elapsed().as_secs_f64());
        self.health.written(appended.as_ref().map(drop));

        match appended {
            Ok(first) => {
                self.metrics.commit_events.observe(events.len() as f64);
                let epoch = self.log.bounds().epoch;
                let entries = events.iter().cloned().zip(0..).map(|(event, index)| Entry {
                    position: first.plus(index),
                    event,
                });
                let frames: Vec<_> = entries.map(|e| Arc::new(Frame::new(epoch, e))).collect();
                let counts = self.fan_out.hand_out(frames);
                let mut published =
                    events
                        .iter()
                        .zip(0..)
                        .zip(counts)
                        .map(|((event, index), subscribers)| {
                            let label = event.head.event_type.into();
                            self.metrics.published.get_or_create(&label).inc();
                            Published {
                                event_id: event.head.id.clone(),
                                timestamp: event.head.timestamp,
                                cursor: Cursor {
                                    epoch,
                                    position: first.plus(index),
                                },
                                subscribers,
                            }
                        });
                for (count, queued_at, answer) in requests {
                    self.metrics
                        .publish_seconds
                        .observe(queued_at.elapsed().as_secs_f64());
                    // A publisher that has gone away does not undo what it published.
                    let _ = answer.send(Ok(published.by_ref().take(count).collect()));
                }
            }
            Err(error) => {
                self.metrics.publish_failures.inc_by(events.len() as u64);
                for (_, _, answer) in requests {
                    let _ = answer.send(Err(error.clone().into()));
                }
            }
        }
    }
}
