//! The arguments and environment variables of commands that may use a registry.

use std::time::Duration;

use planish::PullPolicy;
use planish::registry::{RegistryOptions, RetryPolicy};
use planish::{Cancel, ImageOptions};

use super::{login, size};
use crate::cli::commands::cache;
use crate::cli::exit::Failure;

/// The options for registries and the cache.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Registry")]
pub struct RemoteArguments {
    /// Blobs to fetch
    #[arg(long, value_name = "WHEN", default_value = "newer")]
    pull: PullArgument,
    /// Use no registry: the same as --pull=never
    #[arg(long, conflicts_with = "pull")]
    offline: bool,
    /// Number of attempts before a request fails
    #[arg(long, alias = "retries", value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=100))]
    retry: u32,
    /// Time limit for a connection, in seconds
    #[arg(long, hide_short_help = true, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    connect_timeout: u64,
    /// Time limit for the next byte, in seconds
    #[arg(long, hide_short_help = true, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    idle_timeout: u64,
    /// Minimum number of bytes per second
    #[arg(long, hide_short_help = true, value_name = "BYTES", default_value = "1K", value_parser = size::bytes)]
    min_rate: u64,
    /// Time over which that rate is measured, in seconds
    #[arg(long, hide_short_help = true, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    min_rate_window: u64,
    #[command(flatten)]
    login: login::LoginArguments,
    #[command(flatten)]
    cache: cache::CacheArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum PullArgument {
    /// Blobs that the cache does not have; a tag that the cache knows is not looked up
    Missing,
    /// Blobs that the cache does not have; a tag is always looked up
    Newer,
    /// The same, and also a manifest that the cache has
    Always,
    /// Nothing
    Never,
}

impl RemoteArguments {
    /// Returns the choice of the cache.
    pub fn cache(&self) -> &cache::CacheArguments {
        &self.cache
    }

    /// Adds these options, and further ones from files and the environment, if the image is in a registry; also returns
    /// warnings for the user. A given login is for the registry `login_host`.
    pub fn apply(
        &self,
        options: ImageOptions,
        login_host: Option<&str>,
        cancel: &Cancel,
    ) -> Result<(ImageOptions, Vec<String>), Failure> {
        let login = self.login.login(login_host, cancel)?;
        let registry = RegistryOptions {
            plain_http: login.plain_http,
            https: login.https,
            tls: login.tls,
            proxies: login.proxy,
            credentials: login.credentials,
            mirrors: login.mirrors,
            patience: RetryPolicy {
                tries: self.retry,
                connect: Duration::from_secs(self.connect_timeout),
                idle: Duration::from_secs(self.idle_timeout),
                min_rate: self.min_rate,
                rate_window: Duration::from_secs(self.min_rate_window),
                ..RetryPolicy::default()
            },
        };
        let pull = match self.pull {
            _ if self.offline => PullPolicy::Never,
            PullArgument::Missing => PullPolicy::Missing,
            PullArgument::Newer => PullPolicy::Newer,
            PullArgument::Always => PullPolicy::Always,
            PullArgument::Never => PullPolicy::Never,
        };
        let options = options.registry(registry).pull(pull);
        let options = match cache::directory(&self.cache)? {
            Some(directory) => options.cache_dir(directory),
            None => options,
        };
        Ok((options, login.warnings))
    }
}
