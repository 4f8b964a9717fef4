//! The arguments about finished filesystems in repositories of registries.

use planish::report::FetchVerification;
use planish::{CacheRepository, SharedCache};

/// The repositories that share finished filesystems.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct SharedArguments {
    /// Take the filesystem of a build with the same key from this repository of a registry, if it has one; may be repeated
    #[arg(long, value_name = "REPOSITORY")]
    cache_from: Vec<CacheRepository>,
    /// Push a new filesystem to this repository of a registry, for builds with the same key
    #[arg(long, value_name = "REPOSITORY")]
    cache_to: Option<CacheRepository>,
    /// Fail if the filesystem cannot be pushed there; by default that is a warning
    #[arg(long, requires = "cache_to")]
    cache_to_required: bool,
    /// Proof of what is taken from a repository
    #[arg(long, value_name = "HOW", default_value = "digest")]
    cache_verify: CacheVerify,
    /// Seconds that taking or pushing a filesystem may last
    #[arg(long, value_name = "S", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    cache_timeout: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum CacheVerify {
    /// The digests in its manifest and report
    Digest,
    /// The digests, and every inode and byte of the image
    Full,
}

impl SharedArguments {
    /// Returns true if a registry may be asked.
    pub fn use_registry(&self) -> bool {
        self.cache_to.is_some() || !self.cache_from.is_empty()
    }

    /// Returns true if a new filesystem is pushed.
    pub fn push(&self) -> bool {
        self.cache_to.is_some()
    }

    /// Returns the repositories for all builds of a run; `None` if there are none.
    pub fn cache(&self) -> Option<SharedCache> {
        if !self.use_registry() {
            return None;
        }
        let verification = match self.cache_verify {
            CacheVerify::Digest => FetchVerification::Digest,
            CacheVerify::Full => FetchVerification::Full,
        };
        let cache = SharedCache::default().verification(verification).timeout(self.cache_timeout);
        let cache = self.cache_from.iter().cloned().fold(cache, SharedCache::from);
        Some(match self.cache_to.clone() {
            Some(to) => cache.to(to).require_push(self.cache_to_required),
            None => cache,
        })
    }
}
