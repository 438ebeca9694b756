use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use notification_event::{Application, Body, ClientId, Draft, JsonObject};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Which named clients are connected, and that it is said when that changes.
///
/// A client that comes back soon was never away: its leave is said only after a
/// while without a connection.
#[derive(Debug)]
pub(crate) struct Presence {
    clients: Mutex<HashMap<ClientId, Client>>,
    /// What is to be published, in order. Unbounded: there is at most one
    /// announcement for each connection that opens and each client that leaves,
    /// and a publisher that falls behind must not hold up connections.
    announcements: mpsc::UnboundedSender<Draft>,
    leave_after: Duration,
}

#[derive(Debug)]
struct Client {
    connections: usize,
    /// When the last of them closed.
    left_at: Option<Instant>,
}

impl Presence {
    /// Nobody is here. What is to be said of those who come and go is sent to
    /// `announcements`.
    pub(crate) fn new(leave_after: Duration, announcements: mpsc::UnboundedSender<Draft>) -> Self {
        Self {
            clients: Mutex::default(),
            announcements,
            leave_after,
        }
    }

    /// A connection of this client was opened.
    pub(crate) fn connected(&self, client: &ClientId) {
        let mut clients = self.clients();
        match clients.entry(client.clone()) {
            Entry::Occupied(known) => {
                let known = known.into_mut();
                known.connections += 1;
                known.left_at = None;
            }
            Entry::Vacant(new) => {
                new.insert(Client {
                    connections: 1,
                    left_at: None,
                });
                self.announce("client.joined", client);
            }
        }
    }

    /// A connection of this client was closed.
    pub(crate) fn disconnected(&self, client: &ClientId, now: Instant) {
        let mut clients = self.clients();
        if let Some(known) = clients.get_mut(client) {
            known.connections -= 1;
            if known.connections == 0 {
                known.left_at = Some(now);
            }
        }
    }

    /// Says who has left.
    pub(crate) fn look_for_leavers(&self, now: Instant) {
        let mut clients = self.clients();
        clients.retain(|client, known| {
            let has_left = known.left_at.is_some_and(|at| now >= at + self.leave_after);
            if has_left {
                self.announce("client.left", client);
            }
            !has_left
        });
    }

    fn announce(&self, name: &str, client: &ClientId) {
        // A hub that has closed says nothing more.
        let _ = self.announcements.send(announcement(name, client));
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<ClientId, Client>> {
        self.clients.lock().expect("no holder panics")
    }
}

/// The newest of a client takes the place of those before, so that the newest
/// state of the topic is who is here.
fn announcement(name: &str, client: &ClientId) -> Draft {
    let body = Body::Application(Application {
        name: name.parse().expect("an event name"),
    });
    let data = [("client_id".to_owned(), client.as_str().into())];
    Draft {
        topic: "$presence".parse().expect("a topic"),
        collapse_key: Some(client.as_str().parse().expect("client ids are identifiers")),
        data: Some(JsonObject::from_iter(data)),
        ..Draft::from(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_comes_back_soon_was_never_away() {
        let (announcements, mut said) = mpsc::unbounded_channel();
        let presence = Presence::new(Duration::from_secs(10), announcements);
        let alice: ClientId = "alice".parse().unwrap();
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut said = || -> Vec<String> {
            let drafts = std::iter::from_fn(|| said.try_recv().ok());
            let names = drafts.map(|draft| match draft.body {
                Body::Application(application) => application.name.to_string(),
                _ => unreachable!("announcements are applications' events"),
            });
            names.collect()
        };
        presence.connected(&alice);
        presence.connected(&alice);
        assert_eq!(said(), ["client.joined"]);
        presence.disconnected(&alice, at(0));
        presence.look_for_leavers(at(60));
        presence.disconnected(&alice, at(60));
        presence.look_for_leavers(at(69));
        presence.connected(&alice);
        presence.look_for_leavers(at(100));
        assert_eq!(said(), [""; 0]);
        presence.disconnected(&alice, at(100));
        presence.look_for_leavers(at(110));
        presence.look_for_leavers(at(120));
        assert_eq!(said(), ["client.left"]);
        presence.connected(&alice);
        assert_eq!(said(), ["client.joined"]);
    }
}
