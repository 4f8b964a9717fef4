//! Timeouts of requests, and the number of attempts.

use std::time::Duration;

/// Timeouts, minimum rate and number of attempts. The whole transfer has no time limit: a large blob may be fetched
/// over a slow line.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// The number of attempts before a failure is reported.
    pub tries: u32,
    /// The time limit for a connection.
    pub connect: Duration,
    /// The time limit for each next byte, including the first.
    pub idle: Duration,
    /// The minimum number of bytes per second, measured over `rate_window`.
    pub min_rate: u64,
    /// The time over which the rate is measured.
    pub rate_window: Duration,
    /// The longest accepted `Retry-After`.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 5,
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            min_rate: 1024,
            rate_window: Duration::from_secs(60),
            longest_wait: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// Returns the time limit for the next byte, which is shorter after an attempt that timed out.
    pub(super) fn wait(&self, impatient: bool) -> Duration {
        if impatient { (self.idle / 2).min(IMPATIENT) } else { self.idle }
    }
}

/// The time limit for the next byte after a timeout.
const IMPATIENT: Duration = Duration::from_secs(6);
/// The upper bound of the pause before the second attempt; it doubles before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Returns the pause after this many failed attempts: a random part of the bound, so that many clients that failed
/// together do not return together.
pub(super) fn pause(failed: u32) -> Duration {
    let most = FIRST_PAUSE.saturating_mul(1 << failed.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    most.mul_f64(chance())
}

/// Returns a number from 0 to 1 that differs between processes and calls.
fn chance() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let bits = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_registry_fails_within_forty_seconds() {
        let patience = RetryPolicy::default();
        let pause = FIRST_PAUSE;
        assert!(patience.wait(false) + pause + patience.wait(true) < Duration::from_secs(38));
        assert!(patience.connect * 2 + pause < Duration::from_secs(38));
    }

    #[test]
    fn the_range_of_pauses_doubles_up_to_a_limit() {
        for (failed, most) in [(1, 500), (2, 1000), (3, 2000), (6, 16_000), (7, 20_000), (1000, 20_000)] {
            let pauses: Vec<_> = (0..200).map(|_| pause(failed).as_millis()).collect();
            assert!(pauses.iter().all(|pause| *pause <= most), "{failed}");
            assert!(pauses.iter().any(|pause| *pause > most / 2) && pauses.iter().any(|pause| *pause < most / 2));
        }
    }
}
