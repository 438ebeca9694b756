//! What every engine promises, as tests that run on any of them.
//!
//! [`contract_tests!`](crate::contract_tests) makes a test of each promise for one engine:
//!
//! ```
//! # #[cfg(test)]
//! notification_log::contract_tests!((notification_log::MemoryLog::new(), ()));
//! ```

#![expect(
    missing_docs,
    reason = "each function is named after the promise it checks"
)]

mod events;
mod newest;
mod records;
mod retention;

use std::sync::Arc;

use notification_event::{Draft, EncodedEvent, Event, Position, Timestamp};
use serde_json::{Value, json};

pub use self::events::*;
pub use self::newest::*;
pub use self::records::*;
pub use self::retention::*;
use crate::{Change, Commit, Entry, EventLog, LogError, PageLimit, Retention};

/// Makes one `#[tokio::test]` of each promise. `$log` is evaluated anew for each:
/// a new log, and whatever has to live as long as it does.
#[macro_export]
macro_rules! contract_tests {
    ($log:expr) => {
        $crate::contract_tests!($log;
            appended_events_are_read_back_as_they_were,
            positions_are_dense_and_the_bounds_follow,
            pages_keep_to_their_limits_and_always_move_on,
            reading_past_the_end_is_an_empty_page,
            events_are_found_by_their_ids,
            an_id_is_taken_once,
            readers_see_whole_batches_in_order,
            a_newer_event_of_the_same_state_supersedes,
            only_the_newest_of_each_state_are_read,
            pages_of_the_newest_keep_to_their_limits_and_always_move_on,
            pruning_takes_the_newest_out,
            a_time_is_found,
            time_never_runs_backwards,
            retention_by_events_removes_the_oldest,
            retention_by_bytes_removes_the_oldest,
            the_names_in_an_audience_take_space_too,
            retention_by_age_removes_the_oldest,
            retention_works_in_small_steps,
            a_reader_that_retention_passed_is_told_the_floor,
            positions_are_never_given_twice,
            a_commit_may_be_all_changes,
            changes_and_events_are_one_commit,
            members_are_there_for_what_follows_their_joining,
            who_leaves_before_anything_happens_was_never_there,
            memberships_are_in_order,
            clients_are_saved_and_forgotten,
            records_are_saved_and_removed_by_kind_and_id,
            receipts_keep_the_first_times,
            receipts_are_for_events_in_the_log,
            what_a_client_has_not_acknowledged_is_found,
            pruning_removes_what_belongs_to_the_pruned,
            pruning_forgets_memberships_that_cover_nothing,
            changes_made_twice_are_made_once,
            a_closed_log_says_so,
        );
    };
    ($log:expr; $($name:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let (log, _kept_until_the_end) = $log;
            $crate::contract::$name(std::sync::Arc::new(log)).await;
        }
    )*};
}

type Log = Arc<dyn EventLog>;

const ALL: PageLimit = PageLimit {
    events: usize::MAX,
    bytes: usize::MAX,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(second * 1_000)
}

fn encoded(draft: Value) -> EncodedEvent {
    Event::new(Draft::parse(draft).unwrap(), at(0)).encode()
}

fn event(n: u64) -> EncodedEvent {
    encoded(json!({"type": "notification", "message": format!("message {n}")}))
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

async fn append(log: &Log, count: u64, now: Timestamp) -> (Position, Vec<EncodedEvent>) {
    let commit = Commit {
        events: (0..count).map(event).collect(),
        ..Commit::default()
    };
    let first = log.append(Arc::new(commit.clone()), now).await.unwrap();
    (first, commit.events)
}

/// The position of the first of `events`.
async fn commit(
    log: &Log,
    changes: impl IntoIterator<Item = Change>,
    events: Vec<EncodedEvent>,
) -> Position {
    let changes = changes.into_iter().collect();
    let commit = Arc::new(Commit { changes, events });
    log.append(commit, at(0)).await.unwrap()
}

async fn positions(log: &Log, after: u64) -> Vec<u64> {
    let page = log.read(Position(after), ALL).await.unwrap();
    places(&page.entries)
}

fn places(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.position.0).collect()
}

/// Retention of this many events.
fn keep(max_events: u64) -> Retention {
    Retention {
        max_events: Some(max_events),
        ..Retention::default()
    }
}

/// Prunes until nothing is left to prune.
async fn prune(log: &Log, retention: Retention, now: Timestamp) {
    while log.prune(&retention, now, 2).await.unwrap() > 0 {}
}

pub async fn a_closed_log_says_so(log: Log) {
    let (first, events) = append(&log, 1, at(0)).await;
    let id = events[0].head.id.clone();
    log.probe(10_000).await.unwrap();
    log.close().await.unwrap();
    let closed = Some(LogError::Closed);
    let refused = log.append(Arc::default(), at(0)).await;
    assert_eq!(refused.err(), closed);
    assert_eq!(log.read(first, ALL).await.err(), closed);
    assert_eq!(log.read_newest(first, first, ALL).await.err(), closed);
    assert_eq!(log.find(vec![id.clone()]).await.err(), closed);
    assert_eq!(log.records().await.err(), closed);
    assert_eq!(log.receipts(id).await.err(), closed);
    let unacknowledged = log.unacknowledged(parsed("alice"), first).await;
    assert_eq!(unacknowledged.err(), closed);
    assert_eq!(log.probe(10_000).await.err(), closed);
}
