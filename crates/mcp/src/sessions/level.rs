use notification_event::NotificationType;
use notification_hub::Kind;
use serde::Deserialize;

/// How severe a log message is (revision 2025-11-25, Utilities, "Logging"; RFC
/// 5424, section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl Level {
    /// That of an event: what people are told is as severe as its publisher
    /// says, and how far a job is matters least.
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Progress => Self::Debug,
            Kind::Application => Self::Info,
            Kind::Notification(NotificationType::Info | NotificationType::Success) => Self::Info,
            Kind::Notification(NotificationType::Warning) => Self::Warning,
            Kind::Notification(NotificationType::Error) => Self::Error,
        }
    }

    /// The events that are at least so severe.
    pub(crate) fn and_above(self) -> impl Iterator<Item = Kind> {
        let all = Kind::ALL.into_iter();
        all.filter(move |kind| Self::of(*kind) >= self)
    }

    /// The word for it in JSON.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_lets_through_what_is_as_severe() {
        let check = |level: Level, expected: usize| {
            assert_eq!(level.and_above().count(), expected, "{level:?}");
        };
        check(Level::Debug, 6);
        check(Level::Info, 5);
        check(Level::Notice, 2);
        check(Level::Warning, 2);
        check(Level::Error, 1);
        check(Level::Critical, 0);
    }
}
