//! What every command that may ask a registry takes from the command line and the environment.

use std::time::Duration;

use planish::registry::{Patience, RegistryOptions};
use planish::source::{Pull, RemoteOptions};

use super::exit::Failure;
use super::{cache, login, size};

/// How registries are asked, and what is kept of their answers.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Registry")]
pub struct RemoteArguments {
    /// What is fetched: what the cache does not have, the manifest in any case, or nothing
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pull: PullArgument,
    /// Ask no registry: the same as --pull=never
    #[arg(long, conflicts_with = "pull")]
    offline: bool,
    /// How often a request is made in all before its failure counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    retries: u32,
    /// Seconds to wait for a connection
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    connect_timeout: u64,
    /// Seconds to wait for the next byte
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    idle_timeout: u64,
    /// Bytes a second that must come
    #[arg(long, value_name = "BYTES", default_value = "1K", value_parser = size::bytes)]
    min_rate: u64,
    /// Seconds over which that rate is measured
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    min_rate_window: u64,
    #[command(flatten)]
    login: login::LoginArguments,
    #[command(flatten)]
    cache: cache::CacheArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum PullArgument {
    /// What the cache does not have; a tag is always looked up
    Missing,
    /// The same, and the manifest even where the cache has it
    Always,
    /// Nothing
    Never,
}

impl RemoteArguments {
    /// Reads the rest from files and the environment, for a source that is a registry; with it comes what a person
    /// should know.
    pub fn options(&self) -> Result<(RemoteOptions, Vec<String>), Failure> {
        let login = self.login.login()?;
        let options = RemoteOptions {
            registry: RegistryOptions {
                plain_http: login.plain_http,
                https: login.https,
                tls: login.tls,
                proxies: login.proxy,
                credentials: login.credentials,
                mirrors: login.mirrors,
                patience: Patience {
                    tries: self.retries,
                    connect: Duration::from_secs(self.connect_timeout),
                    idle: Duration::from_secs(self.idle_timeout),
                    min_rate: self.min_rate,
                    rate_window: Duration::from_secs(self.min_rate_window),
                    ..Patience::default()
                },
            },
            cache: cache::directory(&self.cache)?,
            pull: match self.pull {
                _ if self.offline => Pull::Never,
                PullArgument::Missing => Pull::Missing,
                PullArgument::Always => Pull::Always,
                PullArgument::Never => Pull::Never,
            },
        };
        Ok((options, login.warnings))
    }
}
