use std::collections::VecDeque;
use std::time::Duration;

use notification_event::Timestamp;

use crate::Outcome;

/// When an endpoint that fails is left alone.
#[derive(Clone, Copy, Debug)]
pub struct SuspensionConfig {
    /// How many attempts within the hour there have to be.
    pub attempts: u32,
    /// How many of a hundred of them have to have failed.
    pub percent: u32,
}

/// How many minutes are looked back.
const MINUTES: i64 = 60;

/// At which parts of the way to suspension, in percent, it is said.
const WARNINGS: [u32; 4] = [50, 70, 90, 100];

/// How an endpoint has done lately.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    /// By the minute, the oldest first: which, how many attempts, how many failed.
    minutes: VecDeque<(i64, u32, u32)>,
    /// How far it was said to be on the way to suspension.
    warned: u32,
    pub(crate) last_delivery_at: Option<Timestamp>,
    pub(crate) last_error: Option<Outcome>,
    pub(crate) failed_since: Option<Timestamp>,
    pub(crate) suspended_at: Option<Timestamp>,
    /// Until when it wants to be left alone.
    pub(crate) throttled_until: Option<Timestamp>,
}

impl Health {
    /// Takes note of an attempt. How far it is on the way to suspension, if that is
    /// to be said now.
    pub(crate) fn note(
        &mut self,
        outcome: Outcome,
        retry_after: Option<Duration>,
        now: Timestamp,
        config: &SuspensionConfig,
    ) -> Option<u32> {
        let minute = now.as_millis() / 60_000;
        while self
            .minutes
            .front()
            .is_some_and(|it| it.0 + MINUTES <= minute)
        {
            self.minutes.pop_front();
        }
        if self.minutes.back().is_none_or(|it| it.0 < minute) {
            self.minutes.push_back((minute, 0, 0));
        }
        let (_, attempts, failures) = self.minutes.back_mut().expect("it was pushed");
        *attempts += 1;
        // What it does not want at all it has answered.
        let has_failed = !outcome.is_final();
        *failures += u32::from(has_failed);
        self.throttled_until = retry_after.map(|after| now.after(after));
        if outcome.is_delivered() {
            (self.last_delivery_at, self.failed_since) = (Some(now), None);
        } else {
            self.last_error = Some(outcome);
            if has_failed {
                self.failed_since.get_or_insert(now);
            }
        }
        let way = self.way(config);
        let said = WARNINGS.into_iter().filter(|it| *it <= way).max();
        let said = said.unwrap_or_default();
        let is_news = said > self.warned;
        // Below half of it, it begins again.
        if is_news || way < WARNINGS[0] {
            self.warned = said;
        }
        if is_news && said == 100 {
            self.suspended_at = Some(now);
        }
        is_news.then_some(said)
    }

    /// How far it is on the way to suspension, in percent.
    fn way(&self, config: &SuspensionConfig) -> u32 {
        let (mut attempts, mut failures) = (0_u64, 0_u64);
        for (_, of_minute, failed) in &self.minutes {
            attempts += u64::from(*of_minute);
            failures += u64::from(*failed);
        }
        let enough = u64::from(config.attempts.max(1));
        let bad = u64::from(config.percent.clamp(1, 100));
        // Both the number of attempts and the part of them that failed count.
        let many = (attempts * 100 / enough).min(100);
        let failed = (failures * 10_000 / (attempts.max(1) * bad)).min(100);
        u32::try_from(many * failed / 100).unwrap_or(100)
    }

    /// It is tried again, and what was is forgotten.
    pub(crate) fn begin_again(&mut self) {
        self.minutes.clear();
        self.warned = 0;
        self.suspended_at = None;
        self.throttled_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: SuspensionConfig = SuspensionConfig {
        attempts: 100,
        percent: 95,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    #[test]
    fn on_its_way_to_suspension_it_is_said_four_times() {
        let mut health = Health::default();
        let said: Vec<_> = (0..100)
            .filter_map(|second| health.note(Outcome::Timeout, None, at(second), &CONFIG))
            .collect();
        assert_eq!(said, WARNINGS);
        assert_eq!(health.suspended_at, Some(at(99)));
        assert_eq!(health.failed_since, Some(at(0)));
        health.begin_again();
        assert_eq!(health.suspended_at, None);
        assert_eq!(health.note(Outcome::Failed, None, at(100), &CONFIG), None);
    }

    #[test]
    fn who_takes_some_of_it_is_not_suspended() {
        let mut health = Health::default();
        for second in 0..2_000 {
            let outcome = match second % 10 {
                0 => Outcome::Delivered,
                _ => Outcome::Failed,
            };
            health.note(outcome, None, at(second), &CONFIG);
        }
        assert_eq!(health.suspended_at, None);
        assert_eq!(health.failed_since, Some(at(1_991)));
        assert_eq!(health.last_delivery_at, Some(at(1_990)));
    }

    #[test]
    fn what_is_an_hour_ago_does_not_count() {
        let mut health = Health::default();
        for minute in 0..300 {
            assert_eq!(
                health.note(
                    Outcome::Failed,
                    None,
                    at(minute * 60),
                    &SuspensionConfig {
                        attempts: 130,
                        ..CONFIG
                    }
                ),
                None
            );
        }
        for second in 0..1_000 {
            health.note(Outcome::Gone, None, at(20_000 + second), &CONFIG);
        }
        assert_eq!(health.suspended_at, None, "what is gone was answered");
    }
}
