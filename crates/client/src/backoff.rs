use std::time::Duration;

/// If the server has not said how long to wait.
const DEFAULT: Duration = Duration::from_secs(2);
const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(30);

/// How long to wait before coming back, after so many failures in a row. The
/// server spreads its clients with `retry`; from the first failure on they spread
/// themselves, by `chance`, which is from 0 to 1.
#[must_use]
pub fn backoff(
    failures: u32,
    retry: Option<Duration>,
    retry_after: Option<Duration>,
    chance: f64,
) -> Duration {
    let base = retry.unwrap_or(DEFAULT).max(LEAST);
    let wait = match failures {
        0 => base,
        _ => {
            let doubled = base.saturating_mul(1 << failures.min(20));
            doubled.min(MOST).mul_f64(0.5 + chance / 2.0)
        }
    };
    wait.max(retry_after.unwrap_or_default())
}
