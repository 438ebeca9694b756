//! What happens to the streams of a shard, one thing after the other.

use std::sync::Arc;

use notification_event::Draft;
use notification_hub::{AckMode, Bell, Hub, HubConfig, Start, Subscribe};
use notification_log::MemoryLog;
use serde_json::json;

use super::connection::State;
use super::fake::{Fake, HEARTBEAT, config, connection, http, now, run};
use super::shard::{Reading, Shard};

/// A hub and a shard, of which nobody takes care but the story.
struct Scene {
    hub: Hub,
    shard: Shard<Fake>,
    bell: Arc<Bell>,
}

impl Scene {
    async fn new() -> Self {
        Self::with_tail(100).await
    }

    async fn with_tail(tail_events: usize) -> Self {
        let hub_config = HubConfig {
            tail_events,
            ..HubConfig::default()
        };
        let hub = Hub::open(Arc::new(MemoryLog::new()), hub_config);
        let bell = Bell::new(|| ());
        Self {
            hub: hub.await.unwrap(),
            shard: Shard::new(config(), bell.clone(), now()),
            bell,
        }
    }

    /// Opens a stream on a socket that takes everything.
    async fn open(&mut self, subscribe: Subscribe) -> (Fake, usize) {
        let socket = Fake::default();
        let token = self.open_on(&socket, subscribe).await;
        (socket, token)
    }

    async fn open_on(&mut self, socket: &Fake, subscribe: Subscribe) -> usize {
        let subscription = self.hub.subscribe(subscribe).await.unwrap();
        let connection = connection(socket, subscription, &http(&self.hub));
        let token = self.shard.next_token();
        self.shard.add(connection, now());
        token
    }

    async fn publish(&self, messages: &[&str]) {
        let drafts = messages.iter().map(|message| {
            let draft = json!({"type": "notification", "message": message});
            Draft::parse(draft).unwrap()
        });
        self.hub.publish(drafts.collect()).await.unwrap();
    }

    fn hear(&mut self) {
        self.shard.rung(&self.bell.heard(), now());
    }

    fn ready(&mut self, token: usize) {
        self.shard.ready(token, true, true, now());
    }

    fn reading(&mut self) -> Reading {
        let mut reads = self.shard.take_reads();
        assert_eq!(reads.len(), 1);
        reads.remove(0)
    }

    fn state(&self, token: usize) -> State {
        let states = self.shard.states();
        states.iter().find(|(of, ..)| *of == token).unwrap().1
    }
}

fn from_beginning() -> Subscribe {
    Subscribe {
        start: Start::Beginning,
        ..Subscribe::default()
    }
}

/// The messages among what a socket took.
fn messages(socket: &Fake) -> Vec<String> {
    let text = socket.text();
    let parts = text.split("\"message\":\"").skip(1);
    parts
        .map(|part| part.split('"').next().unwrap().to_owned())
        .collect()
}

#[test]
fn a_batch_is_one_write_to_each_and_what_is_left_of_it_comes_later() {
    run(async {
        let mut scene = Scene::new().await;
        let (whole, _) = scene.open(Subscribe::default()).await;
        let (part, token) = scene.open(Subscribe::default()).await;
        let opening = part.text().len();
        let writes = whole.writes();
        scene.publish(&["one", "two", "three"]).await;
        part.with(|socket| socket.room = Some(200));
        scene.hear();
        assert_eq!(whole.writes(), writes + 1);
        assert_eq!(part.text().len(), opening + 200);
        assert_eq!(scene.state(token), State::Blocked);

        // What follows meanwhile waits for the rest.
        scene.publish(&["four"]).await;
        scene.hear();
        part.with(|socket| (socket.room, socket.gulp) = (None, Some(7)));
        scene.ready(token);
        assert_eq!(messages(&part), ["one", "two", "three", "four"]);
        assert_eq!(part.text()[opening..], whole.text()[opening..]);
        assert_eq!(scene.state(token), State::Live);
        assert_eq!(scene.bell.heard(), Default::default());
    });
}

#[test]
fn what_was_for_nobody_here_is_found_in_the_log_by_who_joins() {
    run(async {
        let mut scene = Scene::new().await;
        let (_old, _) = scene.open(Subscribe::default()).await;
        let draft = |json| Draft::parse(json).unwrap();
        let to_all = draft(json!({"type": "notification", "message": "to all"}));
        let to_alice = draft(json!({
            "type": "notification", "message": "to alice", "audience": {"clients": ["alice"]},
        }));
        scene.hub.publish(vec![to_all, to_alice]).await.unwrap();
        // The feed has heard of neither, and will of the first only.
        let alice = Subscribe {
            client: Some("alice".parse().unwrap()),
            ..from_beginning()
        };
        let (alice, _) = scene.open(alice).await;
        scene.hear();
        scene.shard.tick(now());
        assert_eq!(messages(&alice), ["to all", "to alice"]);
    });
}

#[test]
fn however_much_is_published_everything_else_has_its_turn() {
    run(async {
        let mut scene = Scene::with_tail(2_000).await;
        let (busy, _) = scene.open(Subscribe::default()).await;
        scene.publish(&["one"; 600]).await;
        scene.hear();
        let first = messages(&busy).len();
        assert!(first < 600, "{first}");
        assert_eq!(scene.shard.wakes_at(now()), now());
        for _ in 0..10 {
            scene.shard.tick(now());
        }
        assert_eq!(messages(&busy).len(), 600);
        assert!(scene.shard.wakes_at(now()) > now());
    });
}

#[test]
fn a_stream_whose_reading_is_lost_ends() {
    run(async {
        let mut scene = Scene::with_tail(1).await;
        scene.publish(&["one", "two", "three"]).await;
        let (_, token) = scene.open(from_beginning()).await;
        assert_eq!(scene.state(token), State::Reading);
        let (token, id) = scene.reading().of();
        scene.shard.lost(token, uuid::Uuid::new_v4());
        assert!(scene.shard.take_gone().is_empty());
        scene.shard.lost(token, id);
        assert_eq!(scene.shard.take_gone().len(), 1);
        assert_eq!(scene.hub.connections(), 0);
    });
}

#[test]
fn who_joins_before_its_feed_has_heard_of_news_gets_only_what_follows() {
    run(async {
        let mut scene = Scene::new().await;
        let (old, _) = scene.open(Subscribe::default()).await;
        scene.publish(&["before"]).await;
        let (new, token) = scene.open(Subscribe::default()).await;
        let (all, _) = scene.open(from_beginning()).await;
        assert_eq!(scene.state(token), State::Live);
        scene.hear();
        scene.publish(&["after"]).await;
        scene.hear();
        assert_eq!(messages(&old), ["before", "after"]);
        assert_eq!(messages(&new), ["after"]);
        assert_eq!(messages(&all), ["before", "after"]);
    });
}

#[test]
fn who_joins_may_be_the_last_on_its_feed() {
    run(async {
        let mut scene = Scene::new().await;
        let (broken, token) = scene.open(Subscribe::default()).await;
        scene.publish(&["one"]).await;
        // Which is found out when it is to be written.
        broken.with(|socket| socket.is_broken = true);
        let (new, other) = scene.open(from_beginning()).await;
        assert_ne!(token, other);
        assert_eq!(scene.shard.take_gone().len(), 1);
        scene.publish(&["two"]).await;
        scene.hear();
        assert_eq!(messages(&new), ["one", "two"]);

        scene.hub.close().await;
        let (late, _) = scene.open(Subscribe::default()).await;
        scene.hear();
        assert_eq!(scene.shard.take_gone().len(), 2);
        for socket in [new, late] {
            assert!(socket.text().ends_with("\r\n0\r\n\r\n"));
        }
    });
}

#[test]
fn who_was_live_reads_the_log_if_memory_has_moved_on() {
    run(async {
        let mut scene = Scene::with_tail(2).await;
        let (socket, token) = scene.open(Subscribe::default()).await;
        scene.publish(&["one", "two", "three", "four"]).await;
        scene.hear();
        assert_eq!(scene.state(token), State::Reading);
        let read = scene.reading().read().await;
        scene.publish(&["five"]).await;
        scene.hear();
        assert_eq!(messages(&socket), <[&str; 0]>::default());
        scene.shard.read(read, now());
        assert_eq!(scene.state(token), State::Live);
        assert_eq!(messages(&socket), ["one", "two", "three", "four", "five"]);
    });
}

#[test]
fn what_was_read_for_one_that_is_gone_is_not_given_to_who_has_its_number() {
    run(async {
        let mut scene = Scene::with_tail(1).await;
        scene.publish(&["one", "two"]).await;
        let (gone, token) = scene.open(from_beginning()).await;
        let read = scene.reading().read().await;
        gone.with(|socket| socket.is_hung_up = true);
        scene.ready(token);
        let (socket, reused) = scene.open(from_beginning()).await;
        assert_eq!(token, reused);
        scene.shard.read(read, now());
        assert_eq!(scene.state(token), State::Reading);
        assert!(messages(&socket).is_empty() && messages(&gone).is_empty());
        let read = scene.reading().read().await;
        scene.shard.read(read, now());
        assert_eq!(messages(&socket), ["one", "two"]);
        // Nobody else holds what the one that is gone had.
        assert_eq!(scene.hub.connections(), 1);
    });
}

#[test]
fn a_peer_that_goes_on_talking_is_let_go() {
    run(async {
        let mut scene = Scene::new().await;
        let (socket, token) = scene.open(Subscribe::default()).await;
        for said in [10_000, (16 << 10) - 10_000] {
            socket.with(|socket| socket.said = said);
            scene.ready(token);
            assert_eq!(scene.state(token), State::Live);
        }
        socket.with(|socket| socket.said = 1);
        scene.ready(token);
        assert!(socket.with(|socket| socket.is_ended));
        assert_eq!(scene.shard.take_gone().len(), 1);
        assert_eq!(scene.hub.connections(), 0);
    });
}

#[test]
fn who_is_blocked_hears_of_its_end_after_what_it_was_given() {
    run(async {
        let mut scene = Scene::new().await;
        let (socket, token) = scene.open(Subscribe::default()).await;
        socket.with(|socket| socket.room = Some(10));
        scene.publish(&["one"]).await;
        scene.hear();
        scene.publish(&["two"]).await;
        scene.hub.close().await;
        scene.hear();
        assert_eq!(scene.state(token), State::Blocked);
        // A part of what is left, and then a part of the end.
        for room in [400, 40] {
            socket.with(|socket| socket.room = Some(room));
            scene.ready(token);
            assert!(!socket.with(|socket| socket.is_ended));
        }
        socket.with(|socket| socket.room = None);
        scene.ready(token);
        assert_eq!(messages(&socket), ["one", "two"]);
        assert!(socket.text().contains("\"closing\""));
        assert!(socket.text().ends_with("\r\n0\r\n\r\n"));
        assert!(socket.with(|socket| socket.is_ended));
        assert_eq!(scene.shard.take_gone().len(), 1);
    });
}

#[test]
fn what_a_durable_client_could_not_be_written_comes_again() {
    run(async {
        let mut scene = Scene::new().await;
        let durable = || Subscribe {
            client: Some("alice".parse().unwrap()),
            durable: Some(AckMode::Auto),
            ..Subscribe::default()
        };
        let socket = Fake::default();
        socket.with(|socket| socket.confirms = true);
        scene.open_on(&socket, durable()).await;
        scene.publish(&["one"]).await;
        scene.hear();
        socket.with(|socket| socket.is_broken = true);
        scene.publish(&["two"]).await;
        scene.hear();
        assert_eq!(scene.shard.take_gone().len(), 1);
        assert_eq!(messages(&socket), ["one"]);
        let (socket, _) = scene.open(durable()).await;
        assert_eq!(messages(&socket), ["two"]);
    });
}

#[test]
fn who_is_silent_says_that_it_lives_and_where_it_is() {
    run(async {
        let mut scene = Scene::new().await;
        let quiet = Subscribe {
            filter: notification_event::Filter {
                topics: vec!["quiet".parse().unwrap()],
                ..Default::default()
            },
            ..Subscribe::default()
        };
        let (socket, _) = scene.open(quiet).await;
        scene.publish(&["for others"]).await;
        let opening = socket.text().len();
        let begun = now();
        let mut beats = Vec::new();
        while now() < begun + 4 * HEARTBEAT {
            let wait = scene.shard.wakes_at(now()).saturating_duration_since(now());
            tokio::time::advance(wait).await;
            let before = socket.text().len();
            scene.shard.tick(now());
            if socket.text().len() > before {
                beats.push(now() - begun);
            }
        }
        // As many as there is room for, each late by no more than a sweep.
        assert_eq!(beats.len(), 4);
        for (beat, nth) in beats.iter().zip(1..) {
            assert!(*beat >= nth * HEARTBEAT && *beat <= nth * HEARTBEAT * 9 / 8);
        }
        let text = socket.text()[opening..].to_owned();
        let comments: Vec<_> = text.split("\r\n").collect();
        assert!(comments[1].starts_with(":\nid: ") && comments[1].ends_with("-1\n\n"));
        assert_eq!(comments[2..].join(" "), "3 :\n\n 3 :\n\n 3 :\n\n ");
    });
}

#[test]
fn a_socket_that_took_everything_holds_no_memory() {
    run(async {
        let mut scene = Scene::new().await;
        let (socket, token) = scene.open(Subscribe::default()).await;
        socket.with(|socket| socket.room = Some(0));
        scene.publish(&["one"]).await;
        scene.hear();
        assert_eq!(scene.shard.states(), [(token, State::Blocked, false)]);
        socket.with(|socket| socket.room = None);
        scene.ready(token);
        assert_eq!(scene.shard.states(), [(token, State::Live, true)]);
    });
}
