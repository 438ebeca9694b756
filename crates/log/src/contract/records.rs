use notification_event::{ClientId, Cursor, Epoch, EventId, Filter, Position};
use serde_json::json;

use super::{Log, append, at, commit, event, keep, parsed, positions, prune};
use crate::{AckMode, Change, ClientRecord, Membership, Receipt, Record, Records};

fn join(group: &str, client: &str) -> Change {
    Change::JoinGroup {
        group: parsed(group),
        client: parsed(client),
    }
}

fn leave(group: &str, client: &str) -> Change {
    Change::LeaveGroup {
        group: parsed(group),
        client: parsed(client),
    }
}

fn expect(event: &EventId, clients: &[&str]) -> Change {
    Change::Expect {
        event: event.clone(),
        clients: clients.iter().map(|client| parsed(client)).collect(),
    }
}

fn delivered(event: &EventId, client: &str, second: i64) -> Change {
    Change::Delivered {
        event: event.clone(),
        client: parsed(client),
        at: at(second),
    }
}

fn acknowledged(event: &EventId, client: &str, second: i64) -> Change {
    Change::Acknowledged {
        event: event.clone(),
        client: parsed(client),
        at: at(second),
    }
}

fn client(name: &str, acknowledged: &[u64]) -> ClientRecord {
    ClientRecord {
        client: parsed(name),
        filter: Filter::default(),
        ack: AckMode::Auto,
        cursor: Cursor {
            epoch: Epoch::generate(),
            position: Position(0),
        },
        acknowledged: acknowledged.iter().copied().map(Position).collect(),
        created_at: at(1),
        seen_at: at(2),
    }
}

async fn records(log: &Log) -> Records {
    log.records().await.unwrap()
}

async fn memberships(log: &Log) -> Vec<Membership> {
    records(log).await.memberships
}

fn membership(group: &str, client: &str, after: u64, through: Option<u64>) -> Membership {
    Membership {
        group: parsed(group),
        client: parsed(client),
        after: Position(after),
        through: through.map(Position),
    }
}

async fn receipts(log: &Log, event: &EventId) -> Vec<Receipt> {
    log.receipts(event.clone()).await.unwrap()
}

/// With times in seconds.
fn receipt(client: &str, delivered: Option<i64>, acknowledged: Option<i64>) -> Receipt {
    Receipt {
        client: parsed(client),
        delivered_at: delivered.map(at),
        acknowledged_at: acknowledged.map(at),
    }
}

async fn unacknowledged(log: &Log, client: &str, through: u64) -> Vec<EventId> {
    let client: ClientId = parsed(client);
    let found = log.unacknowledged(client, Position(through));
    found.await.unwrap()
}

/// Appends this many events, and says which.
async fn ids(log: &Log, count: u64) -> Vec<EventId> {
    let (_, events) = append(log, count, at(0)).await;
    events.into_iter().map(|event| event.head.id).collect()
}

pub async fn a_commit_may_be_all_changes(log: Log) {
    append(&log, 2, at(0)).await;
    let before = log.bounds();
    let next = commit(&log, [join("ops", "alice")], Vec::new()).await;
    assert_eq!(next, Position(3));
    assert_eq!(log.bounds(), before);
    assert_eq!(
        memberships(&log).await,
        [membership("ops", "alice", 2, None)]
    );
    assert_eq!(commit(&log, [], Vec::new()).await, Position(3));
    let (first, _) = append(&log, 1, at(0)).await;
    assert_eq!(first, Position(3));
}

pub async fn changes_and_events_are_one_commit(log: Log) {
    append(&log, 2, at(0)).await;
    let event = event(0);
    let id = event.head.id.clone();
    let changes = [
        join("ops", "alice"),
        expect(&id, &["alice", "bob"]),
        Change::SaveClient(client("alice", &[])),
    ];
    let first = commit(&log, changes, vec![event]).await;
    assert_eq!(first, Position(3));
    assert_eq!(positions(&log, 0).await, [1, 2, 3]);
    let records = records(&log).await;
    assert!(records.memberships[0].covers(first));
    assert_eq!(records.clients.len(), 1);
    assert_eq!(
        receipts(&log, &id).await,
        [receipt("alice", None, None), receipt("bob", None, None)]
    );
}

pub async fn members_are_there_for_what_follows_their_joining(log: Log) {
    commit(&log, [], vec![event(1)]).await;
    commit(&log, [join("ops", "alice")], vec![event(2)]).await;
    commit(&log, [], vec![event(3)]).await;
    commit(&log, [leave("ops", "alice")], vec![event(4)]).await;
    commit(&log, [], vec![event(5)]).await;
    commit(&log, [join("ops", "alice")], vec![event(6)]).await;
    let (first, second) = (
        membership("ops", "alice", 1, Some(3)),
        membership("ops", "alice", 5, None),
    );
    assert_eq!(memberships(&log).await, [first, second]);
    let all = memberships(&log).await;
    let was_member = |p: &u64| all.iter().any(|m| m.covers(Position(*p)));
    let covered: Vec<u64> = (0..=7).filter(was_member).collect();
    assert_eq!(covered, [2, 3, 6, 7]);

    // Leaving and joining at once is leaving and joining.
    let again = [leave("ops", "alice"), join("ops", "alice")];
    commit(&log, again, vec![event(7)]).await;
    assert_eq!(
        memberships(&log).await[1..],
        [
            membership("ops", "alice", 5, Some(6)),
            membership("ops", "alice", 6, None)
        ]
    );
}

pub async fn who_leaves_before_anything_happens_was_never_there(log: Log) {
    append(&log, 2, at(0)).await;
    commit(&log, [join("ops", "alice")], Vec::new()).await;
    commit(&log, [leave("ops", "alice")], vec![event(0)]).await;
    assert_eq!(memberships(&log).await, []);
    let both = [join("ops", "alice"), leave("ops", "alice")];
    commit(&log, both, vec![event(0)]).await;
    assert_eq!(memberships(&log).await, []);
}

pub async fn memberships_are_in_order(log: Log) {
    commit(&log, [join("b", "x"), join("b", "a")], vec![event(0)]).await;
    commit(&log, [join("a", "z"), leave("b", "x")], vec![event(0)]).await;
    commit(&log, [join("b", "x"), join("B", "x")], vec![event(0)]).await;
    assert_eq!(
        memberships(&log).await,
        [
            membership("B", "x", 2, None),
            membership("a", "z", 1, None),
            membership("b", "a", 0, None),
            membership("b", "x", 0, Some(1)),
            membership("b", "x", 2, None),
        ]
    );
}

pub async fn clients_are_saved_and_forgotten(log: Log) {
    let filter = json!({"topics": ["ops/**", "a"], "types": ["event"], "names": ["n"],
                        "min_priority": 4, "tags": ["x"]});
    let alice = ClientRecord {
        filter: Filter::parse(filter.as_object().unwrap().clone()).unwrap(),
        ack: AckMode::Manual,
        cursor: Cursor {
            epoch: log.bounds().epoch,
            position: Position(u64::MAX),
        },
        ..client("alice", &[5, 7, u64::MAX])
    };
    let (bob, zoe) = (client("bob", &[]), client("zoe", &[1]));
    let save = |record: &ClientRecord| Change::SaveClient(record.clone());
    commit(&log, [save(&zoe), save(&alice), save(&bob)], Vec::new()).await;
    let all = [alice.clone(), bob.clone(), zoe.clone()];
    assert_eq!(records(&log).await.clients, all);

    let moved = ClientRecord {
        client: bob.client.clone(),
        created_at: at(3),
        seen_at: at(4),
        ..alice.clone()
    };
    let changes = [
        save(&moved),
        Change::ForgetClient(alice.client.clone()),
        Change::ForgetClient(parsed("nobody")),
    ];
    commit(&log, changes, Vec::new()).await;
    assert_eq!(records(&log).await.clients, [moved, zoe]);
}

pub async fn receipts_keep_the_first_times(log: Log) {
    let id = &ids(&log, 1).await[0];
    assert_eq!(receipts(&log, id).await, []);
    let check = async |changes: Vec<Change>, expected: (Option<i64>, Option<i64>)| {
        commit(&log, changes.clone(), Vec::new()).await;
        assert_eq!(
            receipts(&log, id).await,
            [receipt("alice", expected.0, expected.1)],
            "after {changes:?}"
        );
    };
    check(vec![expect(id, &["alice"])], (None, None)).await;
    check(vec![delivered(id, "alice", 5)], (Some(5), None)).await;
    check(vec![delivered(id, "alice", 4)], (Some(5), None)).await;
    check(vec![expect(id, &["alice"])], (Some(5), None)).await;
    check(vec![acknowledged(id, "alice", 6)], (Some(5), Some(6))).await;
    check(vec![acknowledged(id, "alice", 3)], (Some(5), Some(6))).await;
    check(vec![delivered(id, "alice", 9)], (Some(5), Some(6))).await;

    // Who was not expected may get it and acknowledge it all the same, in any order.
    let others = [
        acknowledged(id, "carol", 1),
        delivered(id, "bob", 2),
        delivered(id, "carol", 3),
    ];
    commit(&log, others, Vec::new()).await;
    assert_eq!(
        receipts(&log, id).await,
        [
            receipt("alice", Some(5), Some(6)),
            receipt("bob", Some(2), None),
            receipt("carol", Some(3), Some(1)),
        ]
    );
}

pub async fn receipts_are_for_events_in_the_log(log: Log) {
    let id = &ids(&log, 1).await[0];
    prune(&log, keep(0), at(0)).await;
    let unknown = &parsed("no-event");
    for event in [id, unknown] {
        let changes = [
            expect(event, &["alice"]),
            delivered(event, "bob", 1),
            acknowledged(event, "carol", 1),
        ];
        commit(&log, changes, Vec::new()).await;
        assert_eq!(receipts(&log, event).await, []);
    }
    assert_eq!(unacknowledged(&log, "alice", u64::MAX).await, []);
}

pub async fn what_a_client_has_not_acknowledged_is_found(log: Log) {
    let ids = ids(&log, 4).await;
    let changes = [
        expect(&ids[3], &["alice", "bob"]),
        expect(&ids[0], &["alice", "bob"]),
        delivered(&ids[1], "alice", 1),
        expect(&ids[2], &["alice"]),
        acknowledged(&ids[2], "alice", 1),
    ];
    commit(&log, changes, Vec::new()).await;
    let check = async |client: &str, through: u64, expected: &[usize]| {
        let expected: Vec<_> = expected.iter().map(|index| ids[*index].clone()).collect();
        let found = unacknowledged(&log, client, through).await;
        assert_eq!(found, expected, "{client} through {through}");
    };
    check("alice", u64::MAX, &[0, 1, 3]).await;
    check("alice", 4, &[0, 1, 3]).await;
    check("alice", 3, &[0, 1]).await;
    check("alice", 0, &[]).await;
    check("bob", 4, &[0, 3]).await;
    check("carol", 4, &[]).await;
    commit(&log, [acknowledged(&ids[0], "alice", 2)], Vec::new()).await;
    check("alice", 4, &[1, 3]).await;
    check("bob", 4, &[0, 3]).await;
}

pub async fn pruning_removes_what_belongs_to_the_pruned(log: Log) {
    let ids = ids(&log, 3).await;
    let changes = ids.iter().map(|id| expect(id, &["alice"]));
    let changes = changes.chain([Change::SaveClient(client("alice", &[1]))]);
    commit(&log, changes, Vec::new()).await;
    prune(&log, keep(1), at(0)).await;
    assert_eq!(receipts(&log, &ids[0]).await, []);
    assert_eq!(receipts(&log, &ids[1]).await, []);
    assert_eq!(
        receipts(&log, &ids[2]).await,
        [receipt("alice", None, None)]
    );
    let left = unacknowledged(&log, "alice", u64::MAX).await;
    assert_eq!(left, ids[2..]);
    // A client may come back for what is still there.
    assert_eq!(records(&log).await.clients.len(), 1);
}

pub async fn pruning_forgets_memberships_that_cover_nothing(log: Log) {
    let all_join = ["a", "b", "c"].map(|client| join("ops", client));
    commit(&log, all_join, vec![event(1), event(2)]).await;
    commit(&log, [leave("ops", "a")], vec![event(3)]).await;
    commit(&log, [leave("ops", "b")], vec![event(4)]).await;
    let (a, b, c) = (
        membership("ops", "a", 0, Some(2)),
        membership("ops", "b", 0, Some(3)),
        membership("ops", "c", 0, None),
    );
    prune(&log, keep(3), at(0)).await;
    assert_eq!(memberships(&log).await, [a, b.clone(), c.clone()]);
    prune(&log, keep(2), at(0)).await;
    assert_eq!(memberships(&log).await, [b, c.clone()]);
    prune(&log, keep(0), at(0)).await;
    assert_eq!(memberships(&log).await, [c]);
}

pub async fn changes_made_twice_are_made_once(log: Log) {
    let id = &ids(&log, 2).await[1];
    let changes = [
        join("ops", "alice"),
        Change::SaveClient(client("alice", &[2])),
        expect(id, &["alice"]),
        delivered(id, "alice", 1),
        acknowledged(id, "alice", 2),
        leave("ops", "bob"),
        Change::ForgetClient(parsed("bob")),
    ];
    for change in changes {
        let mut seen = Vec::new();
        for _ in 0..2 {
            commit(&log, [change.clone()], vec![event(0)]).await;
            seen.push((records(&log).await, receipts(&log, id).await));
        }
        assert_eq!(seen[0], seen[1], "{change:?}");
    }
    for _ in 0..2 {
        commit(&log, [leave("ops", "alice")], vec![event(0)]).await;
        // The events of the loop above, and those before it, and no later ones.
        assert_eq!(
            memberships(&log).await,
            [membership("ops", "alice", 2, Some(16))]
        );
    }
}

pub async fn records_are_saved_and_removed_by_kind_and_id(log: Log) {
    let record = |kind: &str, id: &str, json: &str| Record {
        kind: kind.to_owned(),
        id: id.to_owned(),
        json: json.to_owned(),
    };
    let (b, a) = (record("key", "b", "{}"), record("key", "a", "{}"));
    let other = record("hook", "b", r#"{"url":"ä"}"#);
    let save = [b, a.clone(), other.clone()].map(Change::SaveRecord);
    commit(&log, save, Vec::new()).await;
    let changed = record("key", "b", r#"{"x":1}"#);
    commit(&log, [Change::SaveRecord(changed.clone())], Vec::new()).await;
    assert_eq!(
        records(&log).await.others,
        [other.clone(), a.clone(), changed]
    );
    let remove = |kind: &str, id: &str| Change::RemoveRecord {
        kind: kind.to_owned(),
        id: id.to_owned(),
    };
    let gone = [remove("key", "b"), remove("key", "c"), remove("other", "a")];
    commit(&log, gone, Vec::new()).await;
    assert_eq!(records(&log).await.others, [other, a]);
}
