use std::time::Duration;

/// When an event that was not taken is sent again, and for how long.
#[derive(Clone, Debug)]
pub struct RetryConfig {
    /// How long it is waited after the first attempt, the second, … . There is one
    /// attempt more than there are of these.
    pub delays: Vec<Duration>,
    /// After how long the last attempt is made, at the latest.
    pub window: Duration,
}

impl RetryConfig {
    /// How long to wait after attempt `number`, `elapsed` after the first; none to
    /// give up. A receiver that says when to come again is waited for, not beyond
    /// the window.
    pub(crate) fn wait(
        &self,
        number: u32,
        elapsed: Duration,
        retry_after: Option<Duration>,
    ) -> Option<Duration> {
        let delay = *self.delays.get(number.checked_sub(1)? as usize)?;
        let left = self
            .window
            .checked_sub(elapsed)
            .filter(|it| !it.is_zero())?;
        // A quarter more or less, so that those who failed together come back apart.
        let delay = delay.mul_f64(0.75 + fastrand::f64() / 2.0);
        Some(delay.max(retry_after.unwrap_or_default()).min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_longer_each_time_and_gives_up_in_the_end() {
        let seconds = Duration::from_secs;
        let retry = RetryConfig {
            delays: vec![seconds(4), seconds(40)],
            window: seconds(100),
        };
        for _ in 0..1_000 {
            let first = retry.wait(1, seconds(0), None).unwrap();
            assert!((seconds(3)..=seconds(5)).contains(&first));
            let second = retry.wait(2, seconds(5), None).unwrap();
            assert!((seconds(30)..=seconds(50)).contains(&second));
        }
        assert_eq!(retry.wait(3, seconds(5), None), None);
        assert_eq!(
            retry.wait(1, seconds(0), Some(seconds(60))),
            Some(seconds(60))
        );
        assert_eq!(
            retry.wait(1, seconds(90), Some(seconds(60))),
            Some(seconds(10))
        );
        assert_eq!(retry.wait(1, seconds(100), None), None);
    }
}
