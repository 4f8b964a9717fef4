//! Bodies, read within bounds of time, rate and size.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Response;

use super::patience::Patience;
use super::trouble::root_cause;

/// A body that is being read.
pub(super) struct Body {
    response: Response,
    idle: Duration,
    rate: Rate,
}

/// Why a body ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// No byte came for so many seconds.
    Stalled(u64),
    /// So many bytes came in so many seconds.
    TooSlow(u64, u64),
    /// The connection says why.
    Off(String),
}

impl Body {
    pub fn of(response: Response, patience: &Patience) -> Self {
        Self { response, idle: patience.idle, rate: Rate::new(patience.min_rate, patience.rate_window) }
    }

    /// Waits less long for each byte, where the last try has waited in vain.
    pub fn impatient(mut self) -> Self {
        self.idle /= 2;
        self
    }

    /// Returns the next bytes; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Broken> {
        let chunk = match tokio::time::timeout(self.idle, self.response.chunk()).await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(fault)) => return Err(Broken::Off(root_cause(&fault))),
            Err(_) => return Err(Broken::Stalled(self.idle.as_secs())),
        };
        if let Some(chunk) = &chunk {
            self.rate.add(chunk.len() as u64, Instant::now())?;
        }
        Ok(chunk)
    }

    /// Reads the whole; `Ok(None)` when it has more than `max` bytes, of which the rest is not read.
    pub async fn bounded(mut self, max: u64) -> Result<Option<Vec<u8>>, Broken> {
        if self.response.content_length().is_some_and(|length| length > max) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if (bytes.len() + chunk.len()) as u64 > max {
                return Ok(None);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }

    /// Reads up to `max` bytes of a body that only explains an error; however that ends.
    pub async fn beginning(mut self, max: u64) -> Vec<u8> {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        while let Ok(Some(chunk)) = self.chunk().await {
            bytes.extend_from_slice(&chunk[..chunk.len().min(max - bytes.len())]);
            if bytes.len() == max {
                break;
            }
        }
        bytes
    }
}

/// Requires so many bytes in each window of time.
struct Rate {
    min: u64,
    window: Duration,
    since: Instant,
    bytes: u64,
}

impl Rate {
    fn new(min: u64, window: Duration) -> Self {
        Self { min, window, since: Instant::now(), bytes: 0 }
    }

    fn add(&mut self, bytes: u64, now: Instant) -> Result<(), Broken> {
        self.bytes += bytes;
        let passed = now.saturating_duration_since(self.since);
        if passed < self.window {
            return Ok(());
        }
        let (got, seconds) = (self.bytes, passed.as_secs());
        (self.since, self.bytes) = (now, 0);
        if got < self.min.saturating_mul(self.window.as_secs()) { Err(Broken::TooSlow(got, seconds)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_must_bring_its_bytes() {
        let mut rate = Rate::new(100, Duration::from_secs(10));
        let start = rate.since;
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(rate.add(1, at(9)), Ok(()));
        assert_eq!(rate.add(999, at(10)), Ok(()));
        assert_eq!(rate.add(500, at(15)), Ok(()));
        assert_eq!(rate.add(499, at(21)), Err(Broken::TooSlow(999, 11)));
    }
}
