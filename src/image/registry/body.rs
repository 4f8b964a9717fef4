//! Reads bodies of responses with limits on time, rate and size.

use std::time::{Duration, Instant};

use super::attempt::{AttemptError, root_cause};
use super::response::Response;
use super::timeouts::RetryPolicy;
use super::wire;
use crate::error::{Error, RegistryProblem};
use bytes::Bytes;

/// The time limit for reading the body of an error response.
const EXPLANATION: Duration = Duration::from_secs(5);

/// A body that is being read.
pub(super) struct Body {
    response: Response,
    idle: Duration,
    rate: Rate,
}

/// The reason why a body ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BodyError {
    /// No byte was received for this number of seconds.
    Stalled(u64),
    /// Too few bytes (the first number) were received in this number of seconds.
    TooSlow(u64, u64),
    /// The connection failed, with the reason.
    Off(String),
    /// More bytes were received beside the content than are allowed.
    Exhausted,
}

impl Body {
    /// Returns a body; after an attempt that timed out, an impatient reader waits less long for each byte.
    pub fn of(response: Response, patience: &RetryPolicy, impatient: bool) -> Self {
        Self { response, idle: patience.wait(impatient), rate: Rate::new(patience.min_rate, patience.rate_window) }
    }

    /// Returns the next bytes; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        let chunk = match tokio::time::timeout(self.idle, self.response.chunk()).await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(fault)) if wire::is_exhausted(&fault) => return Err(BodyError::Exhausted),
            Ok(Err(fault)) => return Err(BodyError::Off(root_cause(&fault))),
            Err(_) => return Err(BodyError::Stalled(self.idle.as_secs())),
        };
        if let Some(chunk) = &chunk {
            self.rate.add(chunk.len() as u64, Instant::now())?;
        }
        Ok(chunk)
    }

    /// Reads the whole body; `Ok(None)` if it has more than `max` bytes, of which the rest is not read.
    pub async fn bounded(self, max: u64) -> Result<Option<Vec<u8>>, BodyError> {
        let mut bytes = Vec::new();
        Ok(self.append_to(&mut bytes, max).await?.then_some(bytes))
    }

    /// Appends the whole body to `bytes`, also as far as it was received before an error; `Ok(false)` if they would be more
    /// than `max`.
    pub async fn append_to(mut self, bytes: &mut Vec<u8>, max: u64) -> Result<bool, BodyError> {
        let room = max.saturating_sub(bytes.len() as u64);
        if self.response.content_length().is_some_and(|length| length > room) {
            return Ok(false);
        }
        while let Some(chunk) = self.chunk().await? {
            if (bytes.len() + chunk.len()) as u64 > max {
                return Ok(false);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(true)
    }

    /// Reads up to `max` bytes of the body of an error response, and ignores failures.
    pub async fn beginning(mut self, max: u64) -> Vec<u8> {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        let read = async {
            while let Ok(Some(chunk)) = self.chunk().await {
                bytes.extend_from_slice(&chunk[..chunk.len().min(max - bytes.len())]);
                if bytes.len() == max {
                    break;
                }
            }
        };
        // The bytes received by then are enough.
        let _ = tokio::time::timeout(EXPLANATION, read).await;
        bytes
    }
}

impl BodyError {
    /// Returns the failure of a document of which `got` bytes were kept.
    pub fn trouble(self, got: u64, error: impl Fn(RegistryProblem) -> Error) -> AttemptError {
        match self {
            Self::Off(why) => AttemptError::Transient(RegistryProblem::Interrupted(why), None),
            Self::Stalled(seconds) => AttemptError::Transient(RegistryProblem::Stalled { seconds, got }, None),
            Self::TooSlow(bytes, seconds) => {
                AttemptError::Permanent(error(RegistryProblem::TooSlow { bytes, seconds }))
            }
            Self::Exhausted => AttemptError::Permanent(error(RegistryProblem::Exhausted(wire::ALLOWANCE))),
        }
    }
}

/// The fraction of the required bytes that must be received in half a window: with less, the window will fail.
const HOPE: u64 = 16;

/// A check that a minimum of bytes is received in each window of time.
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

    fn add(&mut self, bytes: u64, now: Instant) -> Result<(), BodyError> {
        self.bytes += bytes;
        let passed = now.saturating_duration_since(self.since);
        let (total, seconds) = (self.bytes, passed.as_secs());
        let due = self.min.saturating_mul(self.window.as_secs());
        let enough = if passed >= self.window {
            (self.since, self.bytes) = (now, 0);
            total >= due
        } else {
            passed < self.window / 2 || total >= due / 2 / HOPE
        };
        if enough { Ok(()) } else { Err(BodyError::TooSlow(total, seconds)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_requires_its_bytes() {
        let mut rate = Rate::new(100, Duration::from_secs(10));
        let start = rate.since;
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(rate.add(1, at(4)), Ok(()));
        assert_eq!(rate.add(30, at(9)), Ok(()));
        assert_eq!(rate.add(969, at(10)), Ok(()));
        assert_eq!(rate.add(500, at(15)), Ok(()));
        assert_eq!(rate.add(499, at(21)), Err(BodyError::TooSlow(999, 11)));
        assert_eq!(rate.add(30, at(26)), Err(BodyError::TooSlow(30, 5)));
    }
}
