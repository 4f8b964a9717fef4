//! The arguments about finished filesystems in the cache.

use planish::cache::Cache;
use planish::progress::{Event, Progress};
use planish::{Builder, ImageReference};

use super::cache::{self, CacheArguments};
use super::size;
use crate::cli::exit::Failure;

/// The reuse of finished filesystems.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct ReuseArguments {
    /// Take the filesystem of an earlier build with the same key from the cache, or keep it there [default: for
    /// registries, and with --cache-dir]
    #[arg(long, conflicts_with_all = ["no_reuse", "no_cache"])]
    reuse: bool,
    /// Build anew, and keep nothing
    #[arg(long)]
    no_reuse: bool,
    /// Size on disk of the finished filesystems in the cache
    #[arg(long, hide_short_help = true, value_name = "N", default_value = "10G", value_parser = size::bytes)]
    reuse_bytes: u64,
}

impl ReuseArguments {
    /// Sets the cache of a build of `source`, if it uses one.
    ///
    /// A cache that is asked for and not used is a warning.
    pub fn apply(
        &self,
        builder: Builder,
        source: &ImageReference,
        cache: &CacheArguments,
        observer: &dyn Progress,
    ) -> Result<Builder, Failure> {
        let usual = matches!(source, ImageReference::Docker(_)) || cache.is_named();
        if self.no_reuse || !(usual || self.reuse) {
            return Ok(builder);
        }
        let Some(directory) = cache::directory(cache)? else { return Ok(builder) };
        if self.reuse
            && let Some(writer) = Cache::at(&directory).other_writer()?
        {
            observer.event(&Event::Warning(&format!("--reuse has no effect: cache: {writer}")));
            return Ok(builder);
        }
        Ok(builder.reuse(directory, Some(self.reuse_bytes)))
    }
}
