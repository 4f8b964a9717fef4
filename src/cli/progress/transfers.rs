//! The state of transfers from a registry, and the number of cached blobs.

use std::collections::HashMap;
use std::time::Instant;

use indicatif::BinaryBytes;
use planish::Digest;
use planish::progress::Event;

/// The transfers of a run.
#[derive(Debug)]
pub struct Transfers {
    blobs: HashMap<Digest, Blob>,
    cached: u64,
    since: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Blob {
    have: u64,
    /// The bytes present at its beginning, which do not count for the rate.
    first: Option<u64>,
    size: u64,
    done: bool,
}

/// All transfers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Total {
    /// The number of bytes received.
    pub have: u64,
    /// The total number of bytes.
    pub size: u64,
    /// The bytes per second since the first transfer began.
    pub rate: u64,
    /// The number of blobs in transfer or received.
    pub blobs: usize,
    /// The number of blobs received.
    pub done: usize,
    /// The number of blobs that were in the cache.
    pub cached: u64,
}

impl Transfers {
    pub fn new() -> Self {
        Self { blobs: HashMap::new(), cached: 0, since: None }
    }

    /// Updates the state by an event about a blob.
    pub fn note(&mut self, event: &Event<'_>) {
        match *event {
            Event::Cached { .. } => self.cached += 1,
            Event::Fetching { digest, bytes } => {
                self.since.get_or_insert_with(Instant::now);
                self.blobs.insert(digest.clone(), Blob { have: 0, first: None, size: bytes, done: false });
            }
            Event::Progress { digest, bytes } => {
                if let Some(blob) = self.blobs.get_mut(digest) {
                    blob.have = bytes;
                    let first = blob.first.get_or_insert(bytes);
                    *first = (*first).min(bytes);
                }
            }
            Event::Fetched { digest, bytes } => {
                if let Some(blob) = self.blobs.get_mut(digest) {
                    (blob.have, blob.done) = (bytes, true);
                }
            }
            _ => {}
        }
    }

    /// Returns all transfers together; `None` when there are none.
    pub fn total(&self) -> Option<Total> {
        let since = self.since?;
        let sum = |of: fn(&Blob) -> u64| self.blobs.values().map(of).fold(0, u64::saturating_add);
        let came = sum(|blob| blob.have.saturating_sub(blob.first.unwrap_or(blob.have)));
        let milliseconds = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        Some(Total {
            have: sum(|blob| blob.have),
            size: sum(|blob| blob.size),
            rate: came.saturating_mul(1000) / milliseconds,
            blobs: self.blobs.len(),
            done: self.blobs.values().filter(|blob| blob.done).count(),
            cached: self.cached,
        })
    }

    /// Returns the number of blobs that were in the cache.
    pub fn cached(&self) -> u64 {
        self.cached
    }
}

impl Total {
    /// Returns a short text for a line.
    pub fn text(&self) -> String {
        let Self { have, size, rate, blobs, done, cached } = *self;
        format!(
            "{} of {}, {}/s, {done} of {blobs} blobs, {cached} cached",
            BinaryBytes(have),
            BinaryBytes(size),
            BinaryBytes(rate)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_excludes_resumed_bytes() {
        let digest: Digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        let digest = &digest;
        let mut transfers = Transfers::new();
        assert_eq!(transfers.total(), None);
        transfers.note(&Event::Cached { digest, bytes: 9 });
        transfers.note(&Event::Fetching { digest, bytes: 100 });
        transfers.note(&Event::Progress { digest, bytes: 60 });
        let total = transfers.total().unwrap();
        assert_eq!((total.have, total.size, total.rate, total.cached), (60, 100, 0, 1));
        transfers.note(&Event::Progress { digest, bytes: 0 });
        transfers.note(&Event::Fetched { digest, bytes: 100 });
        let total = transfers.total().unwrap();
        assert!((total.have, total.done, total.blobs) == (100, 1, 1) && total.rate > 0);
    }
}
