//! The arguments about finished filesystems in repositories of registries.

use std::path::PathBuf;

use planish::report::FetchVerification;
use planish::{CacheRepository, Cancel, SharedCache, SigningKey, VerifyingKey};

use crate::cli::exit::Failure;

/// The repositories that share finished filesystems.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct SharedArguments {
    /// Repository to take the filesystem of an equal build key from; may be repeated
    #[arg(long, value_name = "REPO")]
    cache_from: Vec<CacheRepository>,
    /// Repository to push a new filesystem to
    #[arg(long, value_name = "REPO")]
    cache_to: Option<CacheRepository>,
    /// Fail if the filesystem cannot be pushed there; by default that is a warning
    #[arg(long, hide_short_help = true)]
    cache_to_required: bool,
    /// Proof of what is taken from a repository
    #[arg(long, hide_short_help = true, value_name = "HOW", default_value = "digest")]
    cache_verify: CacheVerify,
    /// Take only what is signed by this public key of minisign; may be repeated
    #[arg(long, hide_short_help = true, value_name = "FILE")]
    verify_key: Vec<PathBuf>,
    /// Sign what is pushed with this secret key of minisign, which has no password
    #[arg(long, hide_short_help = true, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// Seconds that taking or pushing a filesystem may last
    #[arg(long, hide_short_help = true, value_name = "S", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
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
    /// Returns the repositories that may be asked.
    pub fn repositories(&self) -> Vec<&CacheRepository> {
        self.cache_to.iter().chain(&self.cache_from).collect()
    }

    /// Returns true if a new filesystem is pushed.
    pub fn push(&self) -> bool {
        self.cache_to.is_some()
    }

    /// Returns the repositories for all builds of a run; `None` if there are none.
    pub fn cache(&self, cancel: &Cancel) -> Result<Option<SharedCache>, Failure> {
        if self.repositories().is_empty() {
            return Ok(None);
        }
        let verification = match self.cache_verify {
            CacheVerify::Digest => FetchVerification::Digest,
            CacheVerify::Full => FetchVerification::Full,
        };
        let cache = SharedCache::default().verification(verification).timeout(self.cache_timeout);
        let cache = self.cache_from.iter().cloned().fold(cache, SharedCache::from);
        let cache = verifying_keys(&self.verify_key, cancel)?.into_iter().fold(cache, SharedCache::verifying_key);
        let cache = match &self.sign_key {
            Some(path) => cache.sign(SigningKey::read(path, cancel)?),
            None => cache,
        };
        Ok(Some(match self.cache_to.clone() {
            Some(to) => cache.to(to).require_push(self.cache_to_required),
            None => cache,
        }))
    }
}

/// Reads public keys.
pub fn verifying_keys(paths: &[PathBuf], cancel: &Cancel) -> Result<Vec<VerifyingKey>, Failure> {
    Ok(paths.iter().map(|path| VerifyingKey::read(path, cancel)).collect::<Result<_, _>>()?)
}
