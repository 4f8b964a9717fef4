//! The arguments about listings of layers in the cache.

use super::cache::{self, CacheArguments};
use super::read::Job;
use super::size;

/// The listings of layers.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Run")]
pub struct ListingArguments {
    /// Size on disk of the listings of layers in the cache, which spare decoding a layer twice; 0 keeps none
    #[arg(long, value_name = "N", default_value = "256M", value_parser = size::bytes)]
    listing_bytes: u64,
}

impl ListingArguments {
    /// Sets the cache of listings of a job, for images of all sources; without a cache there are none.
    pub fn apply(&self, job: Job, cache: &CacheArguments) -> Job {
        // Local images need no cache, so that a missing home directory is no error.
        let Ok(Some(directory)) = cache::directory(cache) else { return job };
        Job { options: job.options.listings(directory, Some(self.listing_bytes)), ..job }
    }
}
