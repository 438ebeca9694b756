use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::ParseError;

/// A moment in UTC, to the millisecond; RFC 3339 in JSON, such as
/// `2024-01-15T10:30:00.250Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// `milliseconds` after 1970-01-01T00:00:00Z, kept within the years −9999 to 9999.
    pub fn from_millis(milliseconds: i64) -> Self {
        let (min, max) = (jiff::Timestamp::MIN, jiff::Timestamp::MAX);
        // The last second is not there to its end.
        let within = milliseconds.clamp(min.as_second() * 1_000, max.as_second() * 1_000);
        Self(jiff::Timestamp::from_millisecond(within).expect("clamped to the range"))
    }

    /// Its JSON Schema.
    pub fn schema() -> Value {
        json!({
            "description": "A moment in UTC, to the millisecond",
            "type": "string", "format": "date-time",
        })
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn as_millis(self) -> i64 {
        self.0.as_millisecond()
    }

    /// The moment `duration` before this one.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.as_millis().saturating_sub(millis))
    }

    /// The moment `duration` after this one.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.as_millis().saturating_add(millis))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        };
        Self::from_millis(millis)
    }
}

impl FromStr for Timestamp {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parsed: jiff::Timestamp = text.parse().map_err(|_| ParseError {
            what: "timestamp",
            expected: "an RFC 3339 time such as 2024-01-15T10:30:00Z",
        })?;
        Ok(Self::from_millis(parsed.as_millisecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc_3339_in_utc() {
        let check = |text: &str, shown: &str| {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), shown);
        };
        check("2024-01-15T10:30:00Z", "2024-01-15T10:30:00.000Z");
        check("2024-01-15T12:30:00.2509+02:00", "2024-01-15T10:30:00.250Z");
        assert!("yesterday".parse::<Timestamp>().is_err());
        assert!("2024-01-15".parse::<Timestamp>().is_err());
    }

    #[test]
    fn arithmetic_stays_in_range() {
        let start = Timestamp::from_millis(i64::MIN);
        assert_eq!(start.before(Duration::MAX), start);
        let end = Timestamp::from_millis(i64::MAX);
        assert_eq!(end.after(Duration::MAX), end);
        let later = Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(60));
        assert_eq!(later.before(Duration::from_secs(59)).as_millis(), 1_000);
    }
}
