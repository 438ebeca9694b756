use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::message::Message;

/// How many requests may run at once. Beyond that they are refused, rather than
/// kept: who waits for so many answers waits for none of them.
const MAX_RUNNING: usize = 1_000;

/// The requests that run, by the text of their ids. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests(Arc<Mutex<HashMap<String, State>>>);

#[derive(Clone, Debug)]
struct State {
    /// Its answer has begun, or it has ended.
    begun: CancellationToken,
    /// Nobody waits for it any more.
    cancelled: CancellationToken,
    /// Hanging up is how it is cancelled.
    is_modern: bool,
}

/// A request that runs, until this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    requests: Requests,
    key: String,
    state: State,
    /// The id may be another's by now.
    ended: AtomicBool,
}

/// What is left to do to cancel a request.
#[derive(Debug)]
pub(super) enum Cancelling {
    /// Nothing: it ends.
    Done,
    /// To tell the server, once it knows of the request.
    TellAfter(CancellationToken),
    /// To tell the server, which may know of it.
    Tell,
}

impl Requests {
    /// A request begins.
    pub(super) fn begin(&self, message: &Message) -> Result<Running, Failure> {
        let key = message.id.to_string();
        let state = State {
            begun: CancellationToken::new(),
            cancelled: CancellationToken::new(),
            is_modern: message.is_modern(),
        };
        let mut running = self.running();
        if running.len() >= MAX_RUNNING {
            let most = "which is the most at once";
            return Err(Failure::too_many(format!(
                "{MAX_RUNNING} requests run, {most}"
            )));
        }
        if !message.id.is_null() {
            if running.contains_key(&key) {
                let message = "`id` is that of a request that runs";
                return Err(Failure::invalid(message));
            }
            running.insert(key.clone(), state.clone());
        }
        Ok(Running {
            requests: self.clone(),
            key,
            state,
            ended: AtomicBool::new(false),
        })
    }

    /// Nobody waits any more for the request with this id.
    pub(super) fn cancel(&self, id: &Value) -> Cancelling {
        let Some(state) = self.running().get(&id.to_string()).cloned() else {
            return Cancelling::Tell;
        };
        state.cancelled.cancel();
        match state.is_modern {
            true => Cancelling::Done,
            false => Cancelling::TellAfter(state.begun),
        }
    }

    // A std mutex: held for lookups, never across an await.
    fn running(&self) -> MutexGuard<'_, HashMap<String, State>> {
        self.0.lock().expect("no holder panics")
    }
}

impl Running {
    /// Its answer has begun.
    pub(super) fn has_begun(&self) {
        self.state.begun.cancel();
    }

    /// It is about to be answered: its client may use the id again.
    pub(super) fn has_ended(&self) {
        self.has_begun();
        if !self.ended.swap(true, Ordering::Relaxed) {
            self.requests.running().remove(&self.key);
        }
    }

    /// Whether nobody waits for it any more.
    pub(super) fn is_cancelled(&self) -> bool {
        self.state.cancelled.is_cancelled()
    }

    /// Waits until it is to be hung up on.
    pub(super) async fn hung_up(&self) {
        match self.state.is_modern {
            true => self.state.cancelled.cancelled().await,
            false => std::future::pending().await,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.has_ended();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(id: &Value) -> Message {
        let json = json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
        Message::read(json.to_string().into()).unwrap()
    }

    #[test]
    fn an_id_is_free_again_once_its_request_has_ended() {
        let requests = Requests::default();
        let first = requests.begin(&request(&json!(1))).unwrap();
        assert!(requests.begin(&request(&json!(1))).is_err());
        assert!(requests.begin(&request(&json!("1"))).is_ok(), "another id");
        first.has_ended();
        let second = requests.begin(&request(&json!(1))).unwrap();
        drop(first);
        assert!(requests.begin(&request(&json!(1))).is_err());
        assert!(matches!(
            requests.cancel(&json!(1)),
            Cancelling::TellAfter(_)
        ));
        assert!(second.is_cancelled());
        drop(second);
        assert!(matches!(requests.cancel(&json!(1)), Cancelling::Tell));
    }

    #[test]
    fn there_is_a_most_of_requests() {
        let requests = Requests::default();
        let begin = |n: usize| requests.begin(&request(&json!(n)));
        let mut running: Vec<_> = (0..MAX_RUNNING).map(|n| begin(n).unwrap()).collect();
        assert!(begin(MAX_RUNNING).is_err());
        running.pop();
        assert!(begin(MAX_RUNNING).is_ok());
    }
}
