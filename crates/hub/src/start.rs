use std::time::Duration;

use jiff::SignedDuration;
use notification_event::{Cursor, GapReason, ParseError, Position, Timestamp};
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
    /// Reads what people write to say how far back they want to go: a cursor,
    /// an RFC 3339 time, how long before `now`, or `all`.
    ///
    /// ```
    /// use notification_hub::Start;
    /// let now = "2024-01-15T10:30:00Z".parse().unwrap();
    /// let ten_minutes_ago = "2024-01-15T10:20:00Z".parse().unwrap();
    /// assert_eq!(Start::parse("10m", now), Ok(Start::At(ten_minutes_ago)));
    /// assert_eq!(Start::parse("all", now), Ok(Start::Beginning));
    /// ```
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, ParseError> {
        if text == "all" {
            return Ok(Self::Beginning);
        }
        if let Ok(cursor) = text.parse() {
            return Ok(Self::After(cursor));
        }
        if let Ok(time) = text.parse() {
            return Ok(Self::At(time));
        }
        let duration = text.parse::<SignedDuration>().ok();
        let duration = duration.and_then(|duration| Duration::try_from(duration).ok());
        duration
            .map(|ago| Self::At(now.before(ago)))
            .ok_or(ParseError {
                what: "start",
                expected: "a cursor, an RFC 3339 time, a duration such as 10m or 2h, or all",
            })
    }

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
    use notification_log::{Commit, MemoryLog, Retention};
    use serde_json::json;

    use super::*;

    #[test]
    fn starts_are_parsed_at_the_door() {
        let now: Timestamp = "2024-01-15T10:30:00Z".parse().unwrap();
        let at = |time: &str| Some(Start::At(time.parse().unwrap()));
        let check = |text: &str, expected: Option<Start>| {
            assert_eq!(Start::parse(text, now).ok(), expected, "{text:?}");
        };
        check("all", Some(Start::Beginning));
        check(
            "0123abcd-7",
            Some(Start::After("0123abcd-7".parse().unwrap())),
        );
        check("2024-01-15T09:00:00+01:00", at("2024-01-15T08:00:00Z"));
        check("90s", at("2024-01-15T10:28:30Z"));
        check("10m", at("2024-01-15T10:20:00Z"));
        check("1h 30m", at("2024-01-15T09:00:00Z"));
        check("PT2H", at("2024-01-15T08:30:00Z"));
        check("0s", at("2024-01-15T10:30:00Z"));
        for wrong in ["", "10", "-10m", "yesterday", "now", "0123abcd"] {
            check(wrong, None);
        }
    }

    #[tokio::test]
    async fn a_start_is_found_or_its_gap_is_known() {
        let log = MemoryLog::new();
        let at = |second: i64| Timestamp::from_millis(second * 1_000);
        for second in 1..=10 {
            let draft = Draft::parse(json!({"type": "event", "name": "n"})).unwrap();
            let event = Event::new(draft, at(second)).encode();
            let commit = Commit {
                events: vec![event],
                ..Commit::default()
            };
            log.append(Arc::new(commit), at(second)).await.unwrap();
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
