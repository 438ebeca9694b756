use std::net::SocketAddr;

use notification_testkit::{EventStream, ServerProcess, eventually};
use serde_json::{Value, json};

use crate::common;

/// A server under attack, and somebody who has nothing to do with that.
pub(crate) struct Victim {
    server: ServerProcess,
    /// Gets every event that is for everyone.
    bystander: EventStream,
    published: usize,
}

impl Victim {
    /// It is not patient with requests that do not end.
    pub(crate) fn new() -> Self {
        Self::with(
            "[http]\nhead_timeout_seconds = 1\nbody_timeout_seconds = 1\n[stream]\nheartbeat_seconds = 1",
        )
    }

    pub(crate) fn with(settings: &str) -> Self {
        let server = common::server_with(settings);
        let bystander = EventStream::open(server.address(), "/v1/stream", &[]);
        Self {
            server,
            bystander,
            published: 0,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) fn server(&self) -> &ServerProcess {
        &self.server
    }

    /// Others are served, and what they publish is all that was published.
    pub(crate) fn serves_others(&mut self) {
        let message = format!("still here, {}", self.published);
        let event = json!({"type": "notification", "message": message, "topic": "bystander"});
        let answer = self.server.post("/v1/events", &event);
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(self.next()["message"], message);
    }

    /// The next event that reaches the bystander, and so was published.
    pub(crate) fn next(&mut self) -> Value {
        self.published += 1;
        let event = self.bystander.next();
        event.expect("the bystander's stream goes on").data
    }

    /// Nothing came of the attack: not an event beside those that the bystander
    /// was told of, not a stream, a client, a group or a task.
    pub(crate) fn is_unharmed(&mut self) {
        self.serves_others();
        let log = self.server.get("/v1/events?limit=1000").json();
        assert_eq!(log["events"].as_array().unwrap().len(), self.published);
        for (path, nothing) in [
            ("/v1/groups", json!({"groups": []})),
            ("/v1/clients", json!({"clients": []})),
            ("/v1/tasks", json!({"tasks": [], "has_more": false})),
        ] {
            assert_eq!(self.server.get(path).json(), nothing);
        }
        eventually("the bystander's is the only stream", || self.streams() == 1);
    }

    fn streams(&self) -> usize {
        let list = self.server.get("/v1/connections").json();
        list["connections"].as_array().unwrap().len()
    }
}
