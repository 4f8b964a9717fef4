//! What is on its way from a registry, and what was there already.

use std::collections::HashMap;
use std::time::Instant;

use indicatif::BinaryBytes;
use planish::Digest;
use planish::progress::News;

/// Blobs of a run.
#[derive(Debug)]
pub struct Transfers {
    blobs: HashMap<Digest, Blob>,
    cached: u64,
    since: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Blob {
    have: u64,
    /// What was there when it began: no part of the rate.
    first: Option<u64>,
    size: u64,
    done: bool,
}

/// All transfers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Total {
    /// Bytes that are here.
    pub have: u64,
    /// Bytes that there will be.
    pub size: u64,
    /// Bytes a second since the first transfer began.
    pub rate: u64,
    /// Blobs that are on their way or came.
    pub blobs: usize,
    /// Of these, those that came.
    pub done: usize,
    /// Blobs that were there already.
    pub cached: u64,
}

impl Transfers {
    pub fn new() -> Self {
        Self { blobs: HashMap::new(), cached: 0, since: None }
    }

    /// Takes note of news about a blob.
    pub fn note(&mut self, news: &News<'_>) {
        match *news {
            News::Cached { .. } => self.cached += 1,
            News::Fetching { digest, bytes } => {
                self.since.get_or_insert_with(Instant::now);
                self.blobs.insert(digest.clone(), Blob { have: 0, first: None, size: bytes, done: false });
            }
            News::Have { digest, bytes } => {
                if let Some(blob) = self.blobs.get_mut(digest) {
                    blob.have = bytes;
                    let first = blob.first.get_or_insert(bytes);
                    *first = (*first).min(bytes);
                }
            }
            News::Fetched { digest, bytes } => {
                if let Some(blob) = self.blobs.get_mut(digest) {
                    (blob.have, blob.done) = (bytes, true);
                }
            }
            News::Again { .. } | News::Waiting { .. } | News::Credentials { .. } | News::Warning(_) => {}
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

    /// Returns how many blobs were there already.
    pub fn cached(&self) -> u64 {
        self.cached
    }
}

impl Total {
    /// Returns a few words for a line.
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
    fn what_was_there_is_no_part_of_the_rate() {
        let digest: Digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        let digest = &digest;
        let mut transfers = Transfers::new();
        assert_eq!(transfers.total(), None);
        transfers.note(&News::Cached { digest, bytes: 9 });
        transfers.note(&News::Fetching { digest, bytes: 100 });
        transfers.note(&News::Have { digest, bytes: 60 });
        let total = transfers.total().unwrap();
        assert_eq!((total.have, total.size, total.rate, total.cached), (60, 100, 0, 1));
        transfers.note(&News::Have { digest, bytes: 0 });
        transfers.note(&News::Fetched { digest, bytes: 100 });
        let total = transfers.total().unwrap();
        assert!((total.have, total.done, total.blobs) == (100, 1, 1) && total.rate > 0);
    }
}
