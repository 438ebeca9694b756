use notification_event::{Cursor, GapReason, Position, Timestamp};
use notification_log::{EventLog, LogError};

/// Where a reader begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With what is published from now on.
    #[default]
    Now,
    /// With what follows a cursor.
    After(Cursor),
    /// With what was published at this time or later.
    At(Timestamp),
    /// With the oldest event there is.
    Beginning,
}

/// A start, found in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// None is the head, as it is when the reader joins.
    pub(crate) position: Option<Position>,
    /// Why there may be events between the start and the place.
    pub(crate) gap: Option<GapReason>,
}

impl Start {
    pub(crate) async fn find(self, log: &dyn EventLog) -> Result<Place, LogError> {
        let bounds = log.bounds();
        let (position, gap) = match self {
            Self::Now => {
                return Ok(Place {
                    position: None,
                    gap: None,
                });
            }
            Self::Beginning => (bounds.floor, None),
            Self::After(cursor)
                if cursor.epoch != bounds.epoch || cursor.position > bounds.head =>
            {
                // Of a log that is gone, or of a future that this copy of the
                // log has not had. What of it the reader missed is unknown, so
                // it gets everything there is.
                (bounds.floor, Some(GapReason::Epoch))
            }
            Self::After(cursor) if cursor.position < bounds.floor => {
                (bounds.floor, Some(GapReason::Retention))
            }
            Self::After(cursor) => (cursor.position, None),
            Self::At(time) => {
                let removed = bounds.pruned_until.is_some_and(|until| until >= time);
                let gap = removed.then_some(GapReason::Retention);
                (log.position_at(time).await?, gap)
            }
        };
        Ok(Place {
            position: Some(position),
            gap,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use notification_event::{Draft, Epoch, Event};
    use notification_log::{MemoryLog, Retention};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_start_is_found_or_its_gap_is_known() {
        let log = MemoryLog::new();
        let at = |second: i64| Timestamp::from_millis(second * 1_000);
        for second in 1..=10 {
            let draft = Draft::parse(json!({"type": "event", "name": "n"})).unwrap();
            let event = Event::new(draft, at(second)).encode();
            log.append(Arc::new([event]), at(second)).await.unwrap();
        }
        let keep = Retention {
            max_events: Some(6),
            ..Retention::default()
        };
        log.prune(&keep, at(10), 100).await.unwrap();

        let epoch = log.bounds().epoch;
        let after = |epoch, position| {
            Start::After(Cursor {
                epoch,
                position: Position(position),
            })
        };
        let (retention, other) = (Some(GapReason::Retention), Some(GapReason::Epoch));
        for (start, position, gap) in [
            (Start::Now, None, None),
            (Start::Beginning, Some(4), None),
            (after(epoch, 3), Some(4), retention),
            (after(epoch, 4), Some(4), None),
            (after(epoch, 7), Some(7), None),
            (after(epoch, 10), Some(10), None),
            (after(epoch, 11), Some(4), other),
            (after(Epoch::generate(), 7), Some(4), other),
            (Start::At(at(4)), Some(4), retention),
            (Start::At(at(5)), Some(4), None),
            (Start::At(at(8)), Some(7), None),
            (Start::At(at(99)), Some(10), None),
        ] {
            let place = start.find(&log).await.unwrap();
            assert_eq!(
                (place.position, place.gap),
                (position.map(Position), gap),
                "{start:?}"
            );
        }
    }
}
