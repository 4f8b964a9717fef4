//! How long a registry is waited for, and how often it is asked again.

use std::time::Duration;

/// Times and tries. There is no limit on the whole: a large blob over a slow line takes its time.
#[derive(Debug, Clone)]
pub struct Patience {
    /// How often a request is made in all before its failure counts.
    pub tries: u32,
    /// For a connection.
    pub connect: Duration,
    /// For the next byte, or the first.
    pub idle: Duration,
    /// Bytes a second that must come, measured over `rate_window`.
    pub min_rate: u64,
    /// Over which the rate is measured.
    pub rate_window: Duration,
    /// The longest that a `Retry-After` is heeded.
    pub longest_wait: Duration,
}

impl Default for Patience {
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

/// The pause before the second try is up to this long, and twice that before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Returns how long to wait after so many failed tries: anything up to twice as long as the time before, so that many
/// clients that failed together do not come back together.
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
    fn pauses_are_drawn_from_a_range_that_doubles_up_to_a_bound() {
        for (failed, most) in [(1, 500), (2, 1000), (3, 2000), (6, 16_000), (7, 20_000), (1000, 20_000)] {
            let pauses: Vec<_> = (0..200).map(|_| pause(failed).as_millis()).collect();
            assert!(pauses.iter().all(|pause| *pause <= most), "{failed}");
            assert!(pauses.iter().any(|pause| *pause > most / 2) && pauses.iter().any(|pause| *pause < most / 2));
        }
    }
}
